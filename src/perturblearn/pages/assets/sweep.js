"use strict";
// A sweep's page: filters by what varies, curves and heat maps of any measure over any key, tables of points and runs.
(() => {
  const ENDS = ["sixth", "fifth"]; // of the scale for many values of a number
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "triangle-down", "cross", "star"];
  const MOST_SERIES = 12; // values of a number from which on colours become a scale
  const MOST_BANDS = 6; // curves from which on bands would hide each other
  const MOST_BOXES = 12; // values of a key from which on it is filtered by a range or a list
  const MOST_TICKS = 24;
  const LONG = window.innerWidth < 700 ? 30 : 40; // letters of a name in a chart
  const MOST_DOTS = 2000; // single runs that are drawn; more hide each other and slow the page down

  let data, keys, measures, allowed, chosen, tables, isScale = false;
  const state = {};
  const value = (id) => pl.byId(id).value;
  const isOn = (id) => { const box = pl.byId(id); return Boolean(box && box.checked); };
  const keyOf = (name) => keys.find((key) => key.name === name);
  const measureOf = (name) => measures.find((measure) => measure.name === name);
  // Labels are laid out as flexible boxes, which the attribute hidden does not hide.
  const show = (id, shown) => { pl.byId(`${id}-field`).style.display = shown ? "" : "none"; };
  const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
  const listed = (parts) => (parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : parts.join(""));
  // A text in a chart, short.
  const inChart = (text) => {
    const letters = [...String(text)];
    const short = letters.length > LONG ? `${letters.slice(0, LONG - 1).join("")}…` : letters.join("");
    return pl.plain(short);
  };
  const number = (shown) => (shown === null || shown === undefined ? "-" : Math.abs(shown) >= 1e-3 && Math.abs(shown) < 1e4 ? shown.toFixed(3) : shown === 0 ? "0.000" : shown.toPrecision(3));
  const spreadOf = (sum) => (!sum || sum.mean === null ? "-" : `${number(sum.mean)}${sum.std === null ? "" : ` ± ${number(sum.std)}`}`);

  function summed(values) {
    const n = values.length;
    if (!n) return { n, mean: null, std: null };
    const mean = values.reduce((sum, each) => sum + each, 0) / n;
    const std = n > 1 ? Math.sqrt(values.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (n - 1)) : null;
    return { n, mean, std };
  }

  function start() {
    data = pl.read("sweep-data");
    measures = data.measures;
    keys = data.keys.map((key) => ({ ...key, ofRun: key.name === "seed" ? key.at : data.point.map((point) => key.at[point]) }));
    allowed = keys.map((key) => new Uint8Array(key.levels.length).fill(1));
    Object.assign(state, { x: data.start.x, y: data.start.y, colour: data.start.colour || "" });
    choose();
    startFilters();
    if (measures.length) startChoices();
    makeTables();
    if (measures.length) drawChart();
    pl.byId("points-file").addEventListener("click", savePoints);
    pl.byId("runs-file").addEventListener("click", saveRuns);
    pl.byId("failed-only")?.addEventListener("change", showTables);
    // Colours on a scale are computed, so they do not follow the theme by themselves.
    pl.onTheme(() => { if (isScale) drawChart(); });
  }

  // ---- filters ----
  function startFilters() {
    const place = pl.byId("filter-fields");
    keys.forEach((key, at) => {
      if (key.levels.length < 2) return;
      const boxes = key.levels.length <= MOST_BOXES;
      const content = boxes ? boxFields(key, at) : key.numeric ? rangeFields(key, at) : listField(key, at);
      place.append(pl.element("fieldset", { "data-key": key.name }, pl.element("legend", {}, key.name), content));
    });
    const details = pl.byId("filters");
    details.hidden = !place.children.length;
    details.open = window.innerWidth > 700;
    pl.byId("filters-reset").addEventListener("click", () => {
      place.querySelectorAll("input[type=checkbox]").forEach((box) => { box.checked = true; });
      place.querySelectorAll("input[type=number]").forEach((box) => { box.value = ""; });
      place.querySelectorAll("option").forEach((option) => { option.selected = false; });
      allowed.forEach((levels) => levels.fill(1));
      update();
    });
  }
  function boxFields(key, at) {
    return pl.element("div", {}, ...key.texts.map((text, level) => {
      const box = pl.element("input", { type: "checkbox", checked: true, onchange: () => { allowed[at][level] = Number(box.checked); update(); } });
      return pl.element("label", { class: "check" }, box, pl.element("bdi", {}, text));
    }));
  }
  function rangeFields(key, at) {
    const [low, high] = ["from", "to"].map((word, end) => {
      const box = pl.element("input", {
        type: "number", step: "any", placeholder: end ? key.texts.at(-1) : key.texts[0], style: "width: 8rem", "aria-label": `${key.name} ${word}`, oninput: limit,
      });
      return box;
    });
    function limit() {
      const from = low.value === "" ? -Infinity : Number(low.value), to = high.value === "" ? Infinity : Number(high.value);
      key.levels.forEach((level, place) => { allowed[at][place] = Number(level >= from && level <= to); });
      update();
    }
    return pl.element("div", {}, pl.element("label", {}, "from", low), pl.element("label", {}, "to", high));
  }
  function listField(key, at) {
    const list = pl.element("select", { multiple: true, size: 5, "aria-label": `${key.name}: none or all chosen shows every one`, onchange: () => {
      const picked = new Set([...list.selectedOptions].map((option) => option.index));
      allowed[at].forEach((_, level) => { allowed[at][level] = Number(!picked.size || picked.has(level)); });
      update();
    } }, ...key.texts.map((text) => pl.element("option", {}, text)));
    return pl.element("div", {}, list);
  }
  function choose() {
    const active = keys.map((key, at) => [key, allowed[at]]).filter(([, levels]) => levels.includes(0));
    chosen = [];
    for (let run = 0; run < data.point.length; run += 1) {
      if (active.every(([key, levels]) => levels[key.ofRun[run]])) chosen.push(run);
    }
    const points = new Set(chosen.map((run) => data.point[run])).size;
    const failed = chosen.filter((run) => data.error[run] !== null).length;
    pl.byId("count").textContent = `${chosen.length === data.point.length ? "All" : "Shown:"} ${count(chosen.length, "run")} at ${count(points, "point")}${failed ? `, ${failed.toLocaleString("en")} of them failed` : ""}.`;
    pl.byId("filters-active").textContent = active.length ? ` (${count(active.length, "key")} filtered)` : "";
  }
  function update() {
    choose();
    if (measures.length) drawChart();
    showTables();
  }

  // ---- what is drawn ----
  const options = (id, names, current) => pl.byId(id).replaceChildren(...names.map(([name, text]) => pl.element("option", { value: name, selected: name === current }, text)));
  function startChoices() {
    const several = keys.filter((key) => key.levels.length > 1);
    const offered = (several.length ? several : keys).map((key) => [key.name, key.name]);
    const numeric = several.filter((key) => key.numeric && key.kind !== "seeds");
    options("x", offered, state.x);
    options("y", measures.map((measure) => [measure.name, measure.name]), state.y);
    options("colour", [["", "nothing"], ...offered], state.colour);
    const other = numeric.find((key) => key.axis !== keyOf(state.x).axis) || numeric.find((key) => key.name !== state.x) || several.find((key) => key.name !== state.x);
    options("row", offered, other?.name);
    show("view", numeric.length > 1);
    pl.byId("log-x").checked = data.start.log;
    pl.byId("choices").addEventListener("change", (event) => {
      if (event.target.id === "y") {
        tables.points.swap(pointColumns(), chosenPoints());
        tables.runs.swap(runColumns(), chosenRuns());
      }
      drawChart();
    });
  }
  function readChoices() {
    Object.assign(state, { view: value("view"), x: value("x"), y: value("y"), colour: value("colour"), row: value("row"), spread: value("spread") });
    const isMap = state.view === "map";
    // A map of a key over itself says nothing: the other one moves on.
    if (isMap && state.row === state.x) {
      pl.byId("row").value = state.row = [...pl.byId("row").options].find((option) => option.value !== state.x).value;
    }
    if (state.colour === state.x) pl.byId("colour").value = state.colour = "";
    const measure = measureOf(state.y);
    show("row", isMap);
    ["colour", "spread", "dots"].forEach((id) => show(id, !isMap));
    show("controls", !isMap && measure.controls.length);
    return { isMap, measure, x: keyOf(state.x), by: isMap || !state.colour ? null : keyOf(state.colour), row: isMap ? keyOf(state.row) : null };
  }

  // Runs that have finished, with the measure, in groups by the levels of up to two keys.
  function grouped(measure, first, second) {
    const groups = new Map();
    for (const run of chosen) {
      const found = measure.values[run];
      if (found === null || data.error[run] !== null) continue;
      const outer = second ? second.ofRun[run] : 0, inner = first.ofRun[run];
      if (!groups.has(outer)) groups.set(outer, new Map());
      const series = groups.get(outer);
      if (!series.has(inner)) series.set(inner, []);
      series.get(inner).push(run);
    }
    return new Map([...groups].sort(([one], [other]) => one - other).map(([outer, series]) => [outer, new Map([...series].sort(([one], [other]) => one - other))]));
  }
  // Wilson's interval of 95 % for sampling as many held-out inputs as one run has.
  function intervalOf(mean, count) {
    const z = 1.959964, scale = 1 + z ** 2 / count;
    const middle = mean + z ** 2 / (2 * count), half = z * Math.sqrt((mean * (1 - mean)) / count + z ** 2 / (4 * count ** 2));
    return [Math.max(0, (middle - half) / scale), Math.min(1, (middle + half) / scale)];
  }
  function sumOf(measure, runs) {
    const known = runs.filter((run) => measure.values[run] !== null);
    const sum = summed(known.map((run) => measure.values[run]));
    const counts = known.map((run) => data.n_heldout[data.point[run]]);
    const isKnown = measure.share && counts.length > 0 && counts.every((count) => count);
    return { ...sum, interval: isKnown ? intervalOf(sum.mean, Math.min(...counts)) : null };
  }
  const intervalText = (sum) => (sum?.interval ? sum.interval.map((end) => end.toFixed(3)).join("–") : "-");
  // What a point of the chart averages over: keys that differ within some group.
  function averagedOver(groups, ...fixed) {
    return keys.filter((key) => !fixed.includes(key) && [...groups.values()].some((series) => [...series.values()].some((runs) => runs.some((run) => key.ofRun[run] !== key.ofRun[runs[0]])))).map((key) => key.name);
  }

  // Places of a key's levels on an axis: numbers as they are, all else one beside the other.
  function axisOf(key, levels, log) {
    if (key.numeric) {
      // Few values stand on a logarithmic axis themselves; its own marks are hard to read over a decade or two.
      const marks = log && levels.length <= MOST_SERIES ? { tickvals: levels.map((level) => key.levels[level]), ticktext: levels.map((level) => key.texts[level]) } : {};
      return { at: (level) => key.levels[level], axis: { title: { text: inChart(key.name) }, type: log ? "log" : "linear", ...marks } };
    }
    const places = new Map(levels.map((level, place) => [level, place]));
    return { at: (level) => places.get(level), axis: { title: { text: inChart(key.name) }, ...ticksOf(key, levels), range: [-0.5, levels.length - 0.5] } };
  }
  function ticksOf(key, levels) {
    const step = Math.ceil(levels.length / MOST_TICKS);
    const shown = levels.map((level, place) => [place, level]).filter(([place]) => place % step === 0);
    return { tickvals: shown.map(([place]) => place), ticktext: shown.map(([, level]) => inChart(key.texts[level])), type: "linear", zeroline: false };
  }

  function drawChart() {
    const choice = readChoices();
    const made = choice.isMap ? mapOf(choice) : curvesOf(choice);
    show("log-x", made.logX);
    show("log-y", made.logY);
    const place = pl.byId("sweep-chart");
    place.setAttribute("aria-label", made.label);
    pl.byId("sweep-caption").textContent = made.caption;
    pl.chart(place, made.spec, window.innerWidth < 700 ? 400 : 460);
  }

  function looksOf(levels, by, measure) {
    const colours = by ? data.colours : [measure.colour];
    if (!isScale) return levels.map((_, place) => ({ colour: colours[place % colours.length], dash: DASHES[Math.floor(place / colours.length) % DASHES.length], symbol: SYMBOLS[place % SYMBOLS.length] }));
    const low = by.levels[levels[0]], high = by.levels[levels.at(-1)];
    return levels.map((level) => ({ colour: mixed((by.levels[level] - low) / (high - low || 1)), dash: "solid", symbol: "circle" }));
  }
  // A colour on the way between the ends of the scale.
  function mixed(share) {
    const [from, to] = ENDS.map((name) => { const hex = pl.colour(name); return [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16)); });
    return `#${from.map((start, place) => Math.round(start + share * (to[place] - start)).toString(16).padStart(2, "0")).join("")}`;
  }

  function curvesOf({ measure, x, by }) {
    const groups = grouped(measure, x, by);
    const levels = [...new Set([...groups.values()].flatMap((series) => [...series.keys()]))].sort((one, other) => one - other);
    const logX = x.numeric && isOn("log-x") && levels.every((level) => x.levels[level] > 0), logY = isOn("log-y");
    const { at, axis } = axisOf(x, levels, logX);
    const isLine = x.numeric && ["grid", "zip"].includes(x.kind);
    isScale = Boolean(by && by.numeric && groups.size > MOST_SERIES);
    const spread = state.spread !== "auto" ? (state.spread === "band" && !isLine ? "bars" : state.spread) : isLine && groups.size <= MOST_BANDS ? "band" : isScale && isLine ? "none" : "bars";
    const looks = looksOf([...groups.keys()], by, measure);
    const traces = [], sums = [];
    const total = [...groups.values()].reduce((sum, series) => sum + [...series.values()].reduce((of, runs) => of + runs.length, 0), 0);
    const every = isOn("dots") ? Math.ceil(total / MOST_DOTS) : 0;
    let dropped = 0;
    // Series beside each other where several stand over one word.
    const shift = (place) => (x.numeric || groups.size < 2 ? 0 : (0.7 * (place - (groups.size - 1) / 2)) / groups.size);
    [...groups].forEach(([level, series], place) => {
      const name = by ? inChart(by.texts[level]) : inChart(measure.name);
      const points = [...series].map(([inner, runs]) => ({ at: at(inner) + shift(place), inner, runs, ...sumOf(measure, runs) }));
      sums.push(...points);
      const shown = points.filter((point) => !logY || point.mean > 0);
      dropped += points.length - shown.length;
      if (spread === "band") traces.push(bandOf(shown, looks[place], name, logY));
      if (every) traces.push(dotsOf(points, every, measure, looks[place], name));
      traces.push({
        x: shown.map((point) => point.at), y: shown.map((point) => point.mean), mode: isLine ? "lines+markers" : "markers",
        name, legendgroup: String(level), showlegend: !isScale && (Boolean(by) || isOn("controls")), meta: "mean",
        line: { color: looks[place].colour, dash: looks[place].dash, width: 2 },
        marker: { color: looks[place].colour, symbol: looks[place].symbol, size: isLine ? 7 : 8 },
        hoverinfo: "text",
        hovertext: shown.map((point) => hoverOf([[x, point.inner], ...(by ? [[by, level]] : [])], measure, point)),
        ...(spread === "bars" ? { error_y: { type: "data", array: shown.map((point) => point.std || 0), color: looks[place].colour, thickness: 1.2, width: 3 } } : {}),
      });
    });
    if (isScale) traces.push(scaleOf(by, [...groups.keys()]));
    const controls = isOn("controls") ? measure.controls.map(measureOf) : [];
    controls.forEach((control, place) => traces.push(controlOf(control, place, x, at, isLine, logY)));
    const n = sums.map((point) => point.n);
    return {
      logX: x.numeric && x.levels[0] > 0, logY: true,
      label: `${measure.name} over ${x.name}${by ? `, by ${by.name}` : ""}`,
      caption: captionOf({ measure, x, by, groups, n, spread, controls, dropped, every }),
      spec: { data: traces, layout: {
        xaxis: axis,
        yaxis: { title: { text: inChart(measure.name) }, type: logY ? "log" : "linear" },
        showlegend: traces.some((trace) => trace.showlegend),
        legend: { orientation: "h", y: 1.01, yanchor: "bottom", x: 0, font: { size: 12 }, ...(by && !isScale ? { title: { text: `${inChart(by.label)}  `, font: { size: 12 } } } : {}) },
      } },
    };
  }
  function hoverOf(places, measure, sum) {
    return [...places.map(([key, level]) => `${inChart(key.label)} ${inChart(key.texts[level])}`), `${inChart(measure.name)} <b>${spreadOf(sum)}</b>`, ...(sum.interval ? [`95 % interval ${intervalText(sum)}`] : []), count(sum.n, "run")].join("<br>");
  }
  function bandOf(points, look, name, logY) {
    const floor = Math.min(...points.map((point) => point.mean)) / 10;
    const low = points.map((point) => { const edge = point.mean - (point.std || 0); return logY && edge <= 0 ? floor : edge; });
    const high = points.map((point) => point.mean + (point.std || 0));
    const across = points.map((point) => point.at);
    return {
      x: [...across, ...[...across].reverse()], y: [...high, ...low.reverse()], fill: "toself", mode: "lines", line: { width: 0, color: look.colour },
      fillcolor: look.colour[0] === "@" ? `${look.colour}/0.16` : `${look.colour}29`, hoverinfo: "skip", showlegend: false, name, meta: "band",
    };
  }
  function dotsOf(points, every, measure, look, name) {
    const runs = points.flatMap((point) => point.runs.map((run) => [point.at, run])).filter((_, place) => place % every === 0);
    return {
      x: runs.map(([across]) => across), y: runs.map(([, run]) => measure.values[run]), mode: "markers", name, showlegend: false, meta: "runs",
      marker: { color: look.colour, size: 4, opacity: 0.4 }, hoverinfo: "text",
      hovertext: runs.map(([, run]) => `point ${data.point[run] + 1}, seed ${keyOf("seed").texts[keyOf("seed").ofRun[run]]}: ${number(measure.values[run])}`),
    };
  }
  function scaleOf(by, levels) {
    const ends = [by.levels[levels[0]], by.levels[levels.at(-1)]];
    return {
      x: [null], y: [null], mode: "markers", showlegend: false, hoverinfo: "skip", meta: "scale",
      marker: { color: [ends[0]], cmin: ends[0], cmax: ends[1], colorscale: ENDS.map((name, place) => [place, `@${name}`]), showscale: true, colorbar: { title: { text: inChart(by.label), font: { size: 12 } }, thickness: 12, outlinewidth: 0 } },
    };
  }
  function controlOf(control, place, x, at, isLine, logY) {
    const points = [...(grouped(control, x, null).get(0) || new Map())].map(([level, runs]) => ({ at: at(level), level, ...sumOf(control, runs) })).filter((point) => !logY || point.mean > 0);
    return {
      x: points.map((point) => point.at), y: points.map((point) => point.mean), mode: isLine && points.length > 1 ? "lines" : "markers",
      name: inChart(control.name.replace("_heldout", "").replaceAll("_", " ")), showlegend: true, meta: "control",
      line: { color: "@control", width: 2, dash: place ? "dash" : "dot" }, marker: { color: "@control", symbol: place ? "line-ew-open" : "circle-open", size: 8 },
      hoverinfo: "text", hovertext: points.map((point) => hoverOf([[x, point.level]], control, point)),
    };
  }
  function captionOf({ measure, x, by, groups, n, spread, controls, dropped, every }) {
    if (!n.length) return "No finished run is left by these filters, or none of them has this measure.";
    const [least, most] = [Math.min(...n), Math.max(...n)];
    const over = averagedOver(groups, x, by);
    const partners = (of) => (of ? keys.filter((key) => key !== x && key !== by && key.axis === of.axis && key.kind !== "seeds").map((key) => key.name) : []);
    const along = [[x, partners(x)], [by, by && by.axis !== x.axis ? partners(by) : []]].filter(([, names]) => names.length);
    const how = { band: " The band is one standard deviation (n - 1) of these runs.", bars: " The bars are one standard deviation (n - 1) of these runs.", none: "" }[spread];
    return [
      `${measure.name}${measure.about ? ` (${measure.about})` : ""}: each point is ${most === 1 ? "one run" : `the mean of ${least === most ? most : `${least} to ${most}`} runs${over.length ? `, over ${listed(over)}` : ""}`}.`,
      most > 1 ? how : "",
      every ? ` ${every === 1 ? "Small dots are single runs" : `Small dots are single runs, one in ${every} of them`}.` : "",
      ...along.map(([key, names]) => (key.kind === "random" ? ` Drawn together with ${key.name}, and different at every point: ${listed(names)}.` : ` Together with ${key.name} varies ${listed(names)}.`)),
      controls.length ? ` Grey: the mean of the controls${by ? " over all colours" : ""}.` : "",
      dropped ? ` ${count(dropped, "mean")} of 0 or below cannot be on a logarithmic axis.` : "",
    ].join("");
  }

  function mapOf({ measure, x, row }) {
    isScale = false;
    const groups = grouped(measure, x, row);
    const columns = [...new Set([...groups.values()].flatMap((series) => [...series.keys()]))].sort((one, other) => one - other);
    const lines = [...groups.keys()];
    const cells = [...groups].flatMap(([up, series]) => [...series].map(([across, runs]) => ({ across, up, runs, ...sumOf(measure, runs) })));
    const isGrid = 2 * cells.length >= columns.length * lines.length;
    const n = cells.map((cell) => cell.n);
    const over = averagedOver(groups, x, row);
    const colours = { colorscale: [[0, "@paper"], [1, "@f"]], colorbar: { thickness: 12, outlinewidth: 0, tickformat: ".3~g" } };
    const hover = (cell) => hoverOf([[x, cell.across], [row, cell.up]], measure, cell);
    const canLog = (key) => !isGrid && key.numeric && key.levels[0] > 0;
    const averaged = n.length ? `${Math.max(...n) === 1 ? "one run" : `the mean of ${Math.min(...n) === Math.max(...n) ? n[0] : `${Math.min(...n)} to ${Math.max(...n)}`} runs${over.length ? `, over ${listed(over)}` : ""}`}` : "";
    const made = {
      logX: canLog(x), logY: canLog(row),
      label: `${measure.name} over ${x.name} and ${row.name}`,
      caption: n.length
        ? `${measure.name}${measure.about ? ` (${measure.about})` : ""}: each ${isGrid ? "cell" : "dot"} is ${averaged}.${isGrid ? " Values stand at equal distances; empty cells have no finished run." : ""}`
        : "No finished run is left by these filters, or none of them has this measure.",
    };
    if (!isGrid) {
      const across = axisOf(x, columns, isOn("log-x") && canLog(x)), up = axisOf(row, lines, isOn("log-y") && canLog(row));
      const dots = {
        x: cells.map((cell) => across.at(cell.across)), y: cells.map((cell) => up.at(cell.up)), mode: "markers", meta: "map", hoverinfo: "text", hovertext: cells.map(hover),
        marker: { ...colours, color: cells.map((cell) => cell.mean), showscale: true, size: 11, line: { color: "@soft", width: 1 } },
      };
      return { ...made, spec: { data: [dots], layout: { xaxis: across.axis, yaxis: up.axis, showlegend: false } } };
    }
    const of = (pick) => lines.map((up) => columns.map((across) => { const runs = groups.get(up).get(across); return runs ? pick({ across, up, ...sumOf(measure, runs) }) : null; }));
    const isRoomy = columns.length * 46 < pl.byId("sweep-chart").clientWidth - 120 && lines.length <= 16;
    const heat = {
      type: "heatmap", x: columns.map((_, place) => place), y: lines.map((_, place) => place), z: of((cell) => cell.mean), hovertext: of(hover), hoverinfo: "text", hoverongaps: false,
      meta: "map", xgap: 1, ygap: 1, ...colours, ...(isRoomy ? { texttemplate: "%{z:.3~g}", textfont: { size: 11 } } : {}),
    };
    const axis = (key, levels) => ({ title: { text: inChart(key.name) }, ...ticksOf(key, levels), showgrid: false });
    return { ...made, spec: { data: [heat], layout: { xaxis: axis(x, columns), yaxis: axis(row, lines), showlegend: false } } };
  }

  // ---- tables and files ----
  const keyColumn = (key, at) => ({ name: `key${at}`, label: key.label, number: key.numeric, text: (_, row) => key.texts[row[`level${at}`]] });
  const shownMeasures = () => [...new Set([...data.shown, ...(measures.length ? [pl.byId("y").value] : [])])].map(measureOf);
  const ofPoints = () => keys.map((key, at) => [key, at]).filter(([key]) => key.name !== "seed");
  const setKeys = (row, run, places) => places.forEach(([key, at]) => {
    row[`level${at}`] = key.ofRun[run];
    row[`key${at}`] = key.levels[key.ofRun[run]];
  });
  const pointColumns = () => [
    { name: "point", label: "point", number: true },
    ...ofPoints().map(([key, at]) => keyColumn(key, at)),
    ...shownMeasures().flatMap((measure) => [
      { name: measure.name, label: measure.label, number: true, text: (_, row) => spreadOf(row.sums[measure.name]) },
      ...(measure.name === data.with_interval ? [{ name: "interval", label: "95 % interval", number: true, text: (_, row) => intervalText(row.sums[measure.name]) }] : []),
    ]),
    { name: "finished", label: "finished", number: true }, { name: "failed", label: "failed", number: true },
  ];
  const runColumns = () => [
    { name: "point", label: "point", number: true },
    ...keys.map((key, at) => keyColumn(key, at)),
    ...shownMeasures().map((measure) => ({ name: measure.name, label: measure.label, number: true, text: (found) => number(found) })),
    { name: "key", label: "key", text: (found) => found.slice(0, 10) },
    ...(data.errors.length ? [{ name: "error", label: "error", long: true, text: (found) => found || "-" }] : []),
  ];
  function makeTables() {
    const everyRun = data.point.map((_, run) => run);
    tables = {
      points: pl.table(pl.byId("points-table"), pointColumns(), pointRows(everyRun), { label: "Points", search: "Search points", size: 25 }),
      runs: pl.table(pl.byId("runs-table"), runColumns(), runRows(everyRun), { label: "Runs", search: "Search runs", size: 25 }),
    };
  }
  function pointRows(among) {
    const runs = new Map();
    among.forEach((run) => { const point = data.point[run]; if (!runs.has(point)) runs.set(point, []); runs.get(point).push(run); });
    return [...runs].sort(([one], [other]) => one - other).map(([point, found]) => {
      const finished = found.filter((run) => data.error[run] === null);
      const row = { point: point + 1, runs: finished, finished: finished.length, failed: found.length - finished.length, sums: {} };
      setKeys(row, found[0], ofPoints());
      shownMeasures().forEach((measure) => {
        row.sums[measure.name] = sumOf(measure, finished);
        row[measure.name] = row.sums[measure.name].mean;
        if (measure.name === data.with_interval) row.interval = row.sums[measure.name].interval?.[0] ?? null;
      });
      return row;
    });
  }
  function runRows(among) {
    const shown = shownMeasures(), places = keys.map((key, at) => [key, at]);
    return among.map((run) => {
      const row = { run, point: data.point[run] + 1, key: data.run_key[run], error: data.error[run] === null ? null : data.errors[data.error[run]] };
      setKeys(row, run, places);
      shown.forEach((measure) => { row[measure.name] = measure.values[run]; });
      return row;
    });
  }
  const chosenPoints = () => pointRows(chosen);
  const chosenRuns = () => runRows(isOn("failed-only") ? chosen.filter((run) => data.error[run] !== null) : chosen);
  function showTables() {
    tables.points.show(chosenPoints());
    tables.runs.show(chosenRuns());
  }
  function saveCsv(part, heads, lines) {
    const cell = (content) => { const text = content === null || content === undefined ? "" : String(content); return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; };
    const text = [heads, ...lines].map((line) => `${line.map(cell).join(",")}\n`).join("");
    pl.download(`${data.name.replace(/[^\w.-]+/g, "_")}-${part}.csv`, text, "text/csv");
  }
  function savePoints() {
    const places = ofPoints();
    saveCsv("points",
      ["point", ...places.map(([key]) => key.name), "finished", "failed", ...measures.flatMap((measure) => ["mean", "std", ...(measure.share ? ["low", "high"] : [])].map((part) => `${measure.name}_${part}`))],
      tables.points.found().map((row) => [row.point, ...places.map(([, at]) => row[`key${at}`]), row.finished, row.failed, ...measures.flatMap((measure) => { const sum = sumOf(measure, row.runs); return [sum.mean, sum.std, ...(measure.share ? sum.interval || [null, null] : [])]; })]));
  }
  function saveRuns() {
    saveCsv("runs",
      ["point", "key", ...keys.map((key) => key.name), "error", ...measures.map((measure) => measure.name)],
      tables.runs.found().map((row) => [row.point, row.key, ...keys.map((_, at) => row[`key${at}`]), row.error, ...measures.map((measure) => measure.values[row.run])]));
  }

  document.addEventListener("DOMContentLoaded", start);
})();
