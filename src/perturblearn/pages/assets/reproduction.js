"use strict";
// A figure's page: which curves are drawn, and which rows of the table are shown.
document.addEventListener("DOMContentLoaded", () => {
  const place = pl.byId("points");
  if (!place) return;
  const { columns, rows, verdicts } = pl.read("points-data");
  const numeric = new Set(["published", "at_seed", "seed_difference", "mean", "std", "quantile", "difference"]);
  const shown = (value) => (value === null ? "-" : typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4).replace(/\.?0+$/, "") : String(value));
  const table = pl.table(place, columns.map((name) => ({
    name, label: name.replace(/_/g, " "), number: numeric.has(name) || name === "n_seeds",
    text: (value) => (numeric.has(name) && value !== null ? value.toFixed(3) : shown(value)),
    ...(name.endsWith("verdict") ? { node: (row) => pl.element("span", { class: verdicts.in.includes(row[name]) ? "in" : verdicts.out.includes(row[name]) ? "out" : "quiet" }, row[name]) } : {}),
  })), rows, { label: "Every point and measure", size: 60 });

  function apply() {
    const hidden = new Set([...document.querySelectorAll("input[data-filter=measure]:not(:checked)")].map((box) => box.value));
    const panel = pl.byId("filter-panel")?.value, verdict = pl.byId("filter-verdict").value, atSeed = pl.byId("filter-seed-verdict")?.value;
    table.show(rows.filter((row) => !hidden.has(row.measure) && (!panel || String(row.panel) === panel) && (!verdict || row.verdict === verdict) && (!atSeed || row.seed_verdict === atSeed)));
    const plots = [...document.querySelectorAll(".plot[data-panels]")];
    plots.forEach((plot) => {
      plot.closest("section").hidden = Boolean(panel) && !plot.dataset.panels.split(" ").includes(panel);
      pl.filterChart(plot, (trace) => !hidden.has(trace.meta));
    });
    // Those that are left have other widths than before, and Plotly itself looks only when the window's changes.
    plots.filter((plot) => plot.checkVisibility()).forEach((plot) => Plotly.Plots.resize(plot));
  }
  document.querySelectorAll("[data-filter]").forEach((box) => box.addEventListener("change", apply));
  pl.byId("save-points").addEventListener("click", () => {
    const cell = (value) => { const text = value === null ? "" : String(value); return /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text; };
    pl.download("points.csv", [columns, ...table.found().map((row) => columns.map((name) => row[name]))].map((line) => line.map(cell).join(",")).join("\n") + "\n", "text/csv");
  });
});
