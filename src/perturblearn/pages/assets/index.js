"use strict";
// A folder's page: the table of its results, by kind, and the ticked ones side by side.
document.addEventListener("DOMContentLoaded", () => {
  if (!pl.byId("entries")) return;
  const { measures, common, entries, has_inside: hasInside } = pl.read("index-data");
  const { element } = pl;
  const ticked = new Set();
  const digits = (value) => value.toFixed(3);
  const spanText = (span) => {
    if (!span) return "-";
    const [low, high, std] = span;
    if (digits(low) !== digits(high)) return `${digits(low)} to ${digits(high)}`;
    return std === null ? digits(low) : `${digits(low)} ± ${digits(std)}`;
  };
  const isolated = (text) => element("bdi", {}, text);
  // A column sorts by a number of the row's own: of several settings by the highest.
  for (const row of entries) for (const { name } of measures) row[name] = row.numbers[name] ? row.numbers[name][1] : null;

  const linked = (row) => (row.page ? element("a", { href: row.page }, isolated(row.name)) : isolated(row.name));
  const inlineNumbers = (row) => measures.filter(({ name }) => row.numbers[name]).map(({ name, label }) => `${label} ${spanText(row.numbers[name])}`).join("; ");
  const aboutOf = (row) => element("div", { class: "about" },
    element("b", {}, linked(row)), " ", element("code", { class: "quiet" }, isolated(row.folder)),
    element("div", { class: "inline-numbers" }, inlineNumbers(row)),
    element("div", { class: "note" }, isolated(row.about)), element("div", { class: "brief" }, isolated(row.conclusion)));
  const settingOf = (row, name) => (Object.hasOwn(row.settings, name) ? row.settings[name] : Object.hasOwn(common, name) ? common[name] : null);
  const settingNames = (rows) => [...new Set([...Object.keys(common), ...rows.flatMap((row) => Object.keys(row.settings))])]
    .filter((name) => rows.some((row) => settingOf(row, name) !== null));
  // What a search looks through; made once, since every letter that is typed asks for it.
  for (const row of entries) {
    row.searched = [row.name, row.about, row.folder, row.conclusion, ...settingNames([row]).map((name) => `${name} = ${settingOf(row, name)}`)].join(" ");
  }
  function reportOf(row) {
    if (row.page) return element("a", { href: row.page, "aria-label": `Report of ${row.name}, ${row.folder}` }, "open");
    return row.command ? element("code", { style: "display: block; min-width: 12rem" }, row.command) : "-";
  }
  const runsText = (row) => `${row.combinations} × ${row.seeds}${row.failed ? `, ${row.failed} failed` : ""}`;
  const columns = [
    { name: "ticked", label: "Tick", fixed: true, text: () => "", node: (row) => element("input", {
      type: "checkbox", checked: ticked.has(row), "aria-label": `Tick ${row.name}, ${row.folder}`,
      onchange: (event) => { if (event.target.checked) ticked.add(row); else ticked.delete(row); showCount(); },
    }) },
    { name: "name", label: "Name", text: (_, row) => row.searched, node: aboutOf },
    { name: "kind", label: "Kind" },
    ...measures.map(({ name, label }) => ({ name, label, number: true, text: (_, row) => spanText(row.numbers[name]) })),
    ...(hasInside ? [{ name: "inside", label: "Inside", number: true, text: (value) => (value === null ? "-" : `${(100 * value).toFixed(0)} %`) }] : []),
    { name: "combinations", label: "Settings × seeds", number: true, text: (_, row) => runsText(row) },
    { name: "written", label: "When", text: (value) => value.slice(0, 16), node: (row) => element("span", { style: "white-space: nowrap" }, row.written.slice(0, 16)) },
    { name: "report", label: "Report", fixed: true, text: (_, row) => row.command || "open", node: reportOf },
  ];
  const table = pl.table(pl.byId("entries"), columns, entries, { label: "Results", search: "Search names, settings and conclusions" });

  const boxes = [...document.querySelectorAll("#kinds input")];
  function choose() {
    const kinds = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    table.show(entries.filter((row) => kinds.has(row.kind)));
  }
  boxes.forEach((box) => box.addEventListener("change", choose));

  const compare = pl.byId("compare"), untick = pl.byId("untick"), advice = pl.byId("advice"), place = pl.byId("comparison");
  let isShown = false, showsEqual = false;
  function showCount() {
    compare.textContent = `Compare the ticked (${ticked.size})`;
    compare.disabled = ticked.size < 2;
    untick.disabled = ticked.size === 0;
    if (isShown) showComparison();
  }
  compare.addEventListener("click", () => {
    isShown = true;
    showComparison();
    pl.byId("compared").focus();
  });
  untick.addEventListener("click", () => {
    ticked.clear();
    table.refill();
    showCount();
  });

  const line = (label, contents, mark) => element("tr", {},
    element("th", { scope: "row", style: "white-space: normal; overflow-wrap: anywhere; min-width: clamp(6.5rem, 22vw, 15rem)" }, label),
    ...contents.map((content) => element("td", { class: mark ? "text different" : "text" }, isolated(content === null ? "-" : content))));
  const headed = (label, lines, count) => (lines.length ? [element("tbody", {}, element("tr", {}, element("th", { colspan: count + 1, scope: "rowgroup" }, element("b", {}, label))), ...lines)] : []);
  function showComparison() {
    isShown = ticked.size > 1;
    advice.hidden = isShown;
    const chosen = entries.filter((row) => ticked.has(row));
    if (!isShown) { place.replaceChildren(); return; }
    const about = [["kind", "kind"], ["what", "about"], ["conclusion", "conclusion"]].map(([label, name]) => line(label, chosen.map((row) => row[name])));
    const taken = measures.filter(({ name }) => chosen.some((row) => row.numbers[name]));
    const numbers = taken.map(({ name, label }) => line(label, chosen.map((row) => spanText(row.numbers[name]))));
    if (chosen.some((row) => row.inside !== null)) numbers.push(line("inside", chosen.map((row) => (row.inside === null ? null : `${(100 * row.inside).toFixed(0)} %`))));
    numbers.push(line("settings × seeds", chosen.map(runsText)), line("when", chosen.map((row) => row.written)));
    const names = settingNames(chosen);
    const differs = (name) => new Set(chosen.map((row) => settingOf(row, name))).size > 1;
    const settings = (wanted) => names.filter((name) => differs(name) === wanted).map((name) => line(element("code", {}, ...name.split(/(?<=[._])/).flatMap((part) => [part, element("wbr")])), chosen.map((row) => settingOf(row, name)), wanted));
    const different = settings(true), equal = settings(false);
    const equalBody = headed("Equal settings", equal, chosen.length);
    equalBody.forEach((body) => { body.hidden = !showsEqual; });
    const box = element("input", { type: "checkbox", checked: showsEqual, onchange: () => { showsEqual = box.checked; equalBody.forEach((body) => { body.hidden = !showsEqual; }); } });
    place.replaceChildren(
      element("p", {}, different.length ? `They differ in ${different.length} setting${different.length > 1 ? "s" : ""}, which are marked, and agree in ${equal.length}.` : "Their settings are equal."),
      element("div", { class: "tools" }, element("label", { class: "check" }, box, "Show equal settings too")),
      element("div", { class: "scroll", role: "region", "aria-label": "Side by side", tabindex: "0" }, element("table", {},
        element("caption", { class: "hidden" }, "The ticked results side by side"),
        element("thead", {}, element("tr", {}, element("td", {}), ...chosen.map((row) => element("th", { scope: "col" }, linked(row), element("div", { class: "quiet" }, element("code", {}, isolated(row.folder))))))),
        element("tbody", {}, ...about), ...headed("Numbers", numbers, chosen.length),
        ...headed("Settings that differ", different, chosen.length), ...equalBody)),
    );
    pl.say(`${chosen.length} results side by side.`);
  }
});
