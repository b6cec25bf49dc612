"use strict";
// What all pages share: light and dark, copying, charts, tables. Whatever comes from data becomes text, never markup.
const pl = (() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const say = (text) => { const place = byId("said"); if (place) place.textContent = text; };
  const watchers = [];

  // Light and dark: as the system has it, until somebody chooses.
  const remembered = () => { try { return localStorage.getItem("perturblearn-theme"); } catch { return null; } };
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  function setTheme(name, remember) {
    root.dataset.theme = name;
    const button = byId("theme");
    button.textContent = name === "dark" ? "Light" : "Dark";
    // What is pressed keeps its name, so this one has both words.
    button.setAttribute("aria-label", "Dark rather than light colours");
    button.setAttribute("aria-pressed", String(name === "dark"));
    if (remember) { try { localStorage.setItem("perturblearn-theme", name); } catch { /* a file may have no storage */ } }
    watchers.forEach((watcher) => watcher());
  }
  function startTheme() {
    setTheme(remembered() || (system.matches ? "dark" : "light"), false);
    system.addEventListener("change", (event) => { if (!remembered()) setTheme(event.matches ? "dark" : "light", false); });
    byId("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark", true));
  }
  const onTheme = (watcher) => watchers.push(watcher);
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  // "@f" in a chart's description is the colour --f of the theme; "@f/0.2" the same, see-through.
  function themed(value) {
    if (typeof value === "string" && value[0] === "@") {
      const [name, alpha] = value.slice(1).split("/");
      const hex = colour(name);
      if (!alpha) return hex;
      const [r, g, b] = [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
      return `rgba(${r},${g},${b},${alpha})`;
    }
    if (Array.isArray(value)) return value.map(themed);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, themed(each)]));
    return value;
  }

  // Plotly reads a little markup and templates in its texts, `themed` colours; names from data must not be read so.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/^@/, "&#64;").replace(/%\{/g, "&#37;{");

  function layoutOf(layout, height) {
    const axis = { gridcolor: "@line", zerolinecolor: "@line", linecolor: "@soft", automargin: true, tickfont: { size: 12 } };
    const titled = (given) => (given?.title ? { ...given, title: { font: { size: 13 }, ...given.title } } : given);
    const full = {
      paper_bgcolor: "@paper", plot_bgcolor: "@paper", font: { color: "@ink", size: 13, family: colour("font") },
      height, hovermode: "closest", dragmode: "zoom",
      legend: { orientation: "h", y: 1.01, yanchor: "bottom", x: 0, font: { size: 12 } },
      hoverlabel: { bgcolor: "@panel", bordercolor: "@line", font: { color: "@ink" } }, ...layout,
      margin: { l: 46, r: 14, t: 30, b: 40, ...layout.margin },
    };
    for (const name of Object.keys(full)) if (/^[xy]axis\d*$/.test(name)) full[name] = { ...axis, ...titled(full[name]) };
    full.xaxis = full.xaxis || { ...axis };
    full.yaxis = full.yaxis || { ...axis };
    return themed(full);
  }
  const charts = new Map();
  function draw(place) {
    const chart = charts.get(place);
    Plotly.react(place, themed(chart.spec.data), layoutOf(chart.spec.layout || {}, chart.height), {
      responsive: true, displayModeBar: false, showTips: false,
    });
  }
  // Shows a description {data, layout} at a place, now or in the theme that comes.
  function chart(place, spec, height) {
    const pixels = height || Number(place.dataset.height) || 380;
    charts.set(place, { spec, height: pixels });
    // Plotly asks the place for its height when the width changes.
    place.style.minHeight = `${pixels}px`;
    draw(place);
  }
  // What a chart shows, or will show once somebody comes near it.
  const shownAt = (place) => charts.get(place) || { spec: read(place.dataset.chart) };
  function drawOnce(place) {
    if (!charts.has(place)) chart(place, read(place.dataset.chart));
  }
  // Shows the traces of a chart that pass, and hides the others.
  function filterChart(place, passes) {
    const { spec, height } = shownAt(place);
    chart(place, { ...spec, data: spec.data.map((trace) => ({ ...trace, visible: passes(trace) })) }, height);
  }
  function startCharts() {
    if (typeof Plotly === "undefined") return;
    // Far down ones are drawn when somebody comes near them, so that a page opens at once.
    const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      near.unobserve(entry.target);
      drawOnce(entry.target);
    }), { rootMargin: "600px" });
    document.querySelectorAll(".plot[data-chart]").forEach((place) => {
      place.style.minHeight = `${place.dataset.height}px`;
      near.observe(place);
    });
    window.addEventListener("beforeprint", () => {
      [...document.querySelectorAll(".plot[data-chart]")].filter((place) => place.checkVisibility()).forEach(drawOnce);
    });
    // A sheet of paper is narrower than most windows, and Plotly does not see it.
    window.matchMedia("print").addEventListener("change", ({ matches: onPaper }) => charts.forEach((_, place) => {
      if (place.checkVisibility()) Plotly.relayout(place, onPaper ? { width: place.clientWidth } : { width: null, autosize: true });
    }));
    onTheme(() => charts.forEach((_, place) => draw(place)));
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.save) save(byId(button.dataset.of), button.dataset.save);
      if (button.dataset.reset) {
        const place = byId(button.dataset.reset);
        drawOnce(place);
        const axes = Object.keys(place.layout || {}).filter((name) => /^[xy]axis\d*$/.test(name));
        Plotly.relayout(place, Object.fromEntries(axes.map((name) => {
          const given = charts.get(place).spec.layout?.[name]?.range;
          return given ? [`${name}.range`, [...given]] : [`${name}.autorange`, true];
        })));
      }
    });
    document.addEventListener("change", (event) => {
      const box = event.target;
      if (!box.dataset || !box.dataset.log) return;
      const place = byId(box.dataset.of);
      const { spec, height } = shownAt(place);
      const layout = { ...spec.layout };
      Object.keys(layout).filter((name) => name.startsWith(`${box.dataset.log}axis`)).forEach((name) => {
        const { range, ...rest } = layout[name];
        layout[name] = { ...rest, type: box.checked ? "log" : "linear", autorange: true };
      });
      chart(place, { ...spec, layout }, height);
    });
  }
  // What stands alone in a paper: the chart as it is zoomed, in light colours, with its title, its legend and common fonts.
  function onPaper(place) {
    const { spec, height } = charts.get(place);
    const theme = root.dataset.theme;
    root.dataset.theme = "light";
    const data = themed(spec.data), layout = layoutOf(spec.layout || {}, height);
    root.dataset.theme = theme;
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      const { range, type } = place._fullLayout[name];
      Object.assign(layout[name], { range: [...range], type, autorange: false });
    }
    layout.showlegend = data.some((trace) => trace.showlegend && trace.visible !== false);
    layout.font.family = "Arial, Helvetica, sans-serif";
    // Plotly neither breaks a title nor keeps a legend off it, so both are measured here, about.
    const width = place.clientWidth, LETTER = 7.5, title = [""];
    for (const word of place.getAttribute("aria-label").split(" ")) {
      if ((title.at(-1).length + word.length) * LETTER > width - 20) title.push("");
      title.push(`${title.pop()} ${word}`.trim());
    }
    layout.title = { text: title.map(plain).join("<br>"), x: 0.01, xanchor: "left", y: 1, yanchor: "top", pad: { t: 8 + 9 * (title.length - 1) }, font: { size: 14 } };
    const entries = data.filter((trace) => trace.showlegend && trace.visible !== false).map((trace) => trace.name.length);
    const perLine = Math.max(1, Math.floor((width - 70) / (45 + LETTER * Math.max(0, ...entries))));
    const above = 18 * title.length + (layout.showlegend ? 19 * Math.ceil(entries.length / perLine) : 0);
    layout.margin = { ...layout.margin, t: 24 + above };
    return { data, layout: { ...layout, width, height: height + above }, width, height: height + above };
  }
  function save(place, format) {
    drawOnce(place);
    const { data, layout, width, height } = onPaper(place);
    Plotly.downloadImage({ data, layout }, { format, filename: place.id, width, height, scale: format === "png" ? 2 : 1 });
    say(`Saved as ${format.toUpperCase()}.`);
  }
  function download(name, text, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    say(`Saved ${name}.`);
  }

  async function copy(button) {
    const place = byId(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(place.textContent);
    } catch {
      // A file opened from disk may not be let at the clipboard directly.
      const range = document.createRange();
      range.selectNodeContents(place);
      const selection = window.getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      document.execCommand("copy");
      selection.removeAllRanges();
    }
    const before = button.textContent;
    button.textContent = "Copied";
    say("Copied.");
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  const element = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value === true) made.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
    return made;
  };

  const collator = new Intl.Collator(undefined, { numeric: true });
  // Numbers by size, with empty cells last whichever way; all else as text.
  function compare(one, other, down) {
    const empty = (value) => value === null || value === undefined || value === "" || value === "-";
    if (empty(one) || empty(other)) return empty(one) - empty(other);
    const order = typeof one === "number" && typeof other === "number" ? one - other : collator.compare(String(one), String(other));
    return down ? -order : order;
  }
  // A table that sorts and searches.
  //   place: an empty element; rows: objects by name.
  //   columns: [{name, label, number, long, text(value, row), node(row)}]; a fixed one is neither sorted nor searched.
  //   options: label, search (words in front of the box), size (rows at a time).
  // Returns {show(rows), swap(columns, rows), refill(), found()}: another choice of rows from the first page on, other
  // columns with what was typed, sorted and turned to kept, the same rows anew, and the rows that the search leaves.
  function table(place, columns, rows, options) {
    const { label, size = 50 } = options;
    let shown = rows, sorted = null, down = false, page = 0, wanted = "";
    const head = element("tr", {});
    const body = element("tbody", {});
    const count = element("span", { class: "note", "aria-live": "polite" });
    const box = element("input", { type: "search", oninput: () => { wanted = box.value.toLowerCase(); page = 0; fill(); } });
    const earlier = element("button", { type: "button", onclick: () => { page -= 1; fill(); } }, "Previous");
    const later = element("button", { type: "button", onclick: () => { page += 1; fill(); } }, "Next");
    const text = (row, column) => { const value = row[column.name]; return column.text ? column.text(value, row) : value === null || value === undefined ? "-" : String(value); };
    function sortBy(column) {
      down = sorted === column ? !down : Boolean(column.number);
      sorted = column;
      markSorted();
      page = 0;
      fill();
    }
    function markSorted() {
      [...head.children].forEach((cell, number) => {
        if (columns[number] === sorted) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        else cell.removeAttribute("aria-sort");
      });
    }
    function fillHead() {
      head.replaceChildren(...columns.map((column) => element("th", { scope: "col", class: column.number ? "number" : null },
        column.fixed ? column.label : element("button", { type: "button", onclick: () => sortBy(column) }, column.label))));
      markSorted();
    }
    const matches = (row) => columns.some((column) => !column.fixed && text(row, column).toLowerCase().includes(wanted));
    const found = () => (wanted ? shown.filter(matches) : shown);
    function fill() {
      const left = sorted ? [...found()].sort((one, other) => compare(one[sorted.name], other[sorted.name], down)) : found();
      const pages = Math.max(1, Math.ceil(left.length / size));
      page = Math.min(Math.max(page, 0), pages - 1);
      body.replaceChildren(...left.slice(page * size, (page + 1) * size).map((row) => element("tr", {}, ...columns.map((column, number) => {
        const content = column.node ? column.node(row) : element("bdi", {}, text(row, column));
        return element(number === 0 && !column.node ? "th" : "td", { scope: number === 0 && !column.node ? "row" : null, class: column.number ? "number" : column.long ? "text" : null }, content);
      }))));
      const range = left.length ? `${page * size + 1} to ${Math.min(left.length, (page + 1) * size)} of ${left.length}` : "none";
      count.textContent = left.length === rows.length ? range : `${range} (${rows.length} in all)`;
      earlier.disabled = page === 0;
      later.disabled = page >= pages - 1;
      const several = rows.length > size;
      earlier.hidden = later.hidden = !several;
    }
    place.replaceChildren(
      element("div", { class: "tools" }, element("label", {}, options.search || "Search", box), earlier, later, count),
      element("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" },
        element("table", {}, element("caption", { class: "hidden" }, label), element("thead", {}, head), body)),
    );
    fillHead();
    fill();
    return {
      show(chosen) { shown = chosen; page = 0; fill(); },
      swap(others, chosen) {
        columns = others;
        shown = chosen;
        sorted = columns.find((column) => column.name === sorted?.name) || null;
        fillHead();
        fill();
      },
      refill: fill,
      found,
    };
  }
  // A table of the page itself that sorts by its heads.
  function startTables() {
    document.querySelectorAll("table[data-table]").forEach((made) => {
      const heads = [...made.tHead.rows[0].cells];
      const body = made.tBodies[0];
      const value = (row, column) => { const text = row.cells[column].textContent.trim(); return text !== "" && Number.isFinite(Number(text.replace(/,/g, ""))) ? Number(text.replace(/,/g, "")) : text; };
      heads.forEach((head, column) => {
        const button = element("button", { type: "button" }, head.textContent);
        head.replaceChildren(button);
        button.addEventListener("click", () => {
          const down = head.getAttribute("aria-sort") === "ascending" || (!head.hasAttribute("aria-sort") && head.classList.contains("number"));
          heads.forEach((other) => other.removeAttribute("aria-sort"));
          head.setAttribute("aria-sort", down ? "descending" : "ascending");
          body.append(...[...body.rows].sort((one, other) => compare(value(one, column), value(other, column), down)));
        });
      });
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    startTheme();
    startCharts();
    startTables();
    document.addEventListener("click", (event) => { const button = event.target.closest("button[data-copy]"); if (button) copy(button); });
  });
  return { byId, read, say, onTheme, colour, themed, plain, chart, filterChart, download, table, element, compare };
})();
