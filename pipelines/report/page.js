/* Draws the figures in the reader's colours, with the home's clock under them. Runs once, at the end of the page. */
(() => {
  "use strict";
  const MINUTE = 60e3, HOUR = 3600e3, DAY = 24 * HOUR;
  const STEPS = [1, 2, 5, 10, 15, 30].map((n) => n * MINUTE)
    .concat([1, 2, 3, 6, 12].map((n) => n * HOUR), [1, 2, 3, 7, 14].map((n) => n * DAY));
  const MONTH_STEPS = [1, 2, 3, 6, 12, 24, 60, 120];
  const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
  const MONDAY = 4 * DAY; // 1970 began on a Thursday
  const root = document.documentElement;
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const touch = matchMedia("(pointer: coarse)").matches;
  const figures = new Map();
  let range = page.span.slice();
  let printing = false;

  const two = (n) => String(n).padStart(2, "0");
  const clock = (t) => two(t.getUTCHours()) + ":" + two(t.getUTCMinutes());
  const day = (t) => t.getUTCDate() + " " + MONTHS[t.getUTCMonth()];

  /* A local time is kept as the instant at which UTC clocks show it. */
  function toLocal(at) {
    let shift = page.offsets[0][1];
    for (const [from, offset] of page.offsets) if (from <= at) shift = offset;
    return at + shift;
  }

  /* The first instant at which the home's clock shows a local time; null in the hour that spring leaves out. */
  function toInstant(local) {
    for (let i = 0; i < page.offsets.length; i++) {
      const at = local - page.offsets[i][1];
      const from = i ? page.offsets[i][0] : -Infinity;
      const until = i + 1 < page.offsets.length ? page.offsets[i + 1][0] : Infinity;
      if (at >= from && at < until) return at;
    }
    return null;
  }

  /* An instant moved by so much on the home's clock, from the last whole unit; a day is as long as that day is. */
  function later(at, by, unit = 1) {
    const local = Math.floor(toLocal(at) / unit) * unit + by;
    const moved = toInstant(local);
    return moved === null ? toInstant(local + HOUR) : moved;
  }

  function localTicks(from, to, most, least) {
    const step = STEPS.find((s) => s >= least && (to - from) / s <= most);
    const found = [];
    if (step) {
      const anchor = step % (7 * DAY) ? 0 : MONDAY;
      for (let t = Math.ceil((from - anchor) / step) * step + anchor; t <= to; t += step) found.push(t);
    } else {
      const months = MONTH_STEPS.find((m) => (to - from) / (m * 30.44 * DAY) <= most) || 240;
      const start = new Date(from);
      const first = start.getUTCFullYear() * 12 + start.getUTCMonth();
      for (let m = Math.ceil(first / months) * months; Date.UTC(0, m) <= to; m += months) {
        const t = Date.UTC(Math.floor(m / 12), m % 12);
        if (t > to) break;
        if (t >= from) found.push(t);
      }
    }
    const years = new Date(from).getUTCFullYear() !== new Date(to).getUTCFullYear();
    let before = null;
    const texts = found.map((t) => {
      const date = new Date(t);
      const newDay = before === null || day(before) !== day(date);
      const newYear = before === null || before.getUTCFullYear() !== date.getUTCFullYear();
      before = date;
      const name = step ? day(date) : MONTHS[date.getUTCMonth()];
      const under = years && newYear ? " " + date.getUTCFullYear() : "";
      if (step && step < DAY) return clock(date) + (newDay ? "<br>" + name + under : "");
      return name + (under ? "<br>" + under.trim() : "");
    });
    return [found, texts];
  }

  function ticks(axis, bounds, width) {
    const most = Math.max(2, width / 56);
    if (axis === "day") return localTicks(bounds[0], bounds[1], most, DAY);
    const [locals, texts] = localTicks(toLocal(bounds[0]), toLocal(bounds[1]), most, 0);
    const instants = locals.map(toInstant);
    const shown = instants.map((at) => at !== null);
    return [instants.filter((_, i) => shown[i]), texts.filter((_, i) => shown[i])];
  }

  const style = () => getComputedStyle(root);
  const soft = (hex, alpha) =>
    "rgba(" + [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",") + "," + alpha + ")";

  function painted(trace, css) {
    const colour = css("--c" + trace.meta.colour);
    const copy = Object.assign({}, trace);
    if (trace.meta.paint === "bar") {
      copy.marker = Object.assign({}, trace.marker, { color: colour, line: { color: colour, width: trace.base ? 1 : 0 } });
    } else if (trace.meta.paint === "band") {
      copy.fillcolor = soft(colour, 0.34);
      copy.line = Object.assign({}, trace.line, { color: colour });
    } else if (trace.meta.paint === "line") {
      copy.line = Object.assign({}, trace.line, { color: colour });
    }
    return copy;
  }

  /* What stands at the right of the lanes goes where a lane's name needs its room; the table has it too. */
  function fitting(notes, width) {
    const size = (note) => note.text.replace(/<[^>]*>/g, "").replace(/&[^;]*;/g, "x").length * 7.4;
    const left = new Map(notes.filter((note) => note.xanchor === "left").map((note) => [note.y, size(note)]));
    const meet = notes.some((note) => note.xanchor === "right" && size(note) + left.get(note.y) > width - 16);
    return meet ? notes.filter((note) => note.xanchor === "left") : notes;
  }

  function layoutOf(figure, css, width) {
    const base = figure.base.layout;
    const margin = base.margin;
    const bounds = figure.axis === "time" ? range : page.days;
    const [tickvals, ticktext] = ticks(figure.axis, bounds, width - margin.l - margin.r);
    const lines = ticktext.some((text) => text.includes("<br>")) ? 1 : 0;
    const line = { gridcolor: css("--grid"), zeroline: false, linecolor: css("--grid") };
    return Object.assign({}, base, {
      width, height: figure.height, autosize: false,
      margin: Object.assign({}, margin, { b: margin.b + 14 * lines }),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: css("--sans"), size: 12, color: css("--text") },
      hoverlabel: {
        bgcolor: css("--hover"), bordercolor: css("--hover"), align: "left", namelength: 0,
        font: { family: css("--sans"), size: 13, color: css("--hover-text") },
      },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--text") },
      dragmode: touch || figure.axis === "day" ? false : "zoom",
      xaxis: Object.assign({}, base.xaxis, line, {
        range: bounds.slice(), fixedrange: touch || figure.axis === "day", tickmode: "array", tickvals, ticktext,
        tickangle: 0, ticks: "outside", ticklen: 4, tickcolor: css("--grid"), tickfont: { color: css("--muted") },
        showgrid: figure.axis === "time",
      }),
      yaxis: Object.assign({}, base.yaxis, line, { tickfont: { color: css("--muted") } }),
      annotations: fitting(base.annotations || [], width).map((note) =>
        note.name === "muted" ? Object.assign({}, note, { font: { color: css("--muted") } }) : note),
      legend: Object.assign({}, base.legend, {
        bgcolor: "rgba(0,0,0,0)", font: { color: css("--text"), size: 12 }, uirevision: "kept",
      }),
    });
  }

  function draw(figure) {
    const computed = style();
    const css = (name) => computed.getPropertyValue(name).trim();
    const width = printing ? (figure.axis === "time" ? 680 : 330) : figure.div.clientWidth;
    if (!figure.div.clientWidth) return;
    figure.base = figure.base || JSON.parse(figure.source.textContent);
    const data = figure.base.data.map((trace) => painted(trace, css));
    const config = {
      responsive: false, displaylogo: false, showTips: false, doubleClick: false, scrollZoom: false,
      displayModeBar: touch ? false : undefined, modeBarButtons: [["toImage"]],
      toImageButtonOptions: { filename: figure.div.id, scale: 2 },
    };
    Plotly.react(figure.div, data, layoutOf(figure, css, width), config);
    figure.width = width;
    if (figure.drawn) return;
    figure.drawn = true;
    if (figure.axis === "time") {
      figure.div.on("plotly_relayout", (change) => {
        if (!("xaxis.range[0]" in change)) return;
        show([0, 1].map((i) => instantOf(change["xaxis.range[" + i + "]"])));
      });
      // A tap comes as a touch and as a click, which plotly takes for two.
      if (!touch) figure.div.on("plotly_doubleclick", () => show(page.span));
    }
  }

  /* What plotly says of an end of the axis: a number, or a date and time of UTC. */
  function instantOf(value) {
    if (typeof value === "number") return value;
    const [date, time = "00:00"] = value.split(" ");
    return Date.parse(date + "T" + time.slice(0, 12) + "Z");
  }

  let waiting = [];
  function work() {
    const next = waiting.shift();
    if (next) {
      draw(next);
      setTimeout(work, 0);
    } else {
      root.dataset.ready = "yes";
    }
  }
  function enqueue(some) {
    const idle = !waiting.length;
    waiting = waiting.filter((f) => !some.includes(f)).concat(some);
    if (!waiting.length) root.dataset.ready = "yes";
    else if (idle) {
      root.dataset.ready = "no";
      setTimeout(work, 0);
    }
  }
  const visible = () => [...figures.values()].filter((f) => f.div.clientWidth > 0);

  /* Whole days may be shown, though the first and the last of them be only partly known. */
  function show(wanted) {
    const [first, last] = page.span;
    const [low, high] = wanted === page.span ? page.span : [later(first, 0, DAY), later(last - 1, DAY, DAY)];
    const length = Math.max(Math.min(wanted[1] - wanted[0], high - low), MINUTE);
    const start = Math.min(Math.max(wanted[0], low), high - length);
    range = [start, start + length];
    name();
    enqueue(visible().filter((f) => f.axis === "time"));
  }

  function name() {
    const [first, last] = range.map((at) => new Date(toLocal(at)));
    const whole = range[1] - range[0] >= page.span[1] - page.span[0];
    const full = (t) => day(t) + " " + t.getUTCFullYear() + ", " + clock(t);
    for (const bar of document.querySelectorAll("[data-range-bar]")) {
      bar.querySelector("output").textContent = full(first) + " – " + full(last);
      for (const button of bar.querySelectorAll("button[data-length]")) {
        const length = Number(button.dataset.length);
        const shown = toLocal(range[1]) - toLocal(range[0]);
        const on = length ? !whole && Math.abs(shown - length) < MINUTE : whole;
        button.setAttribute("aria-pressed", String(on));
      }
      bar.querySelector("[data-move='-1']").disabled = range[0] <= page.span[0];
      bar.querySelector("[data-move='1']").disabled = range[1] >= page.span[1];
    }
  }

  function press(button) {
    const length = range[1] - range[0];
    if (button.dataset.move) {
      const by = Number(button.dataset.move) * (toLocal(range[1]) - toLocal(range[0]));
      show(range.map((at) => later(at, by)));
    } else if (Number(button.dataset.length)) {
      const wanted = Number(button.dataset.length);
      const whole = length >= page.span[1] - page.span[0];
      const start = later(whole ? page.span[0] : range[0], 0, DAY);
      show([start, later(start, wanted)]);
    } else {
      show(page.span);
    }
  }

  function choose(select) {
    const group = document.getElementById(select.dataset.group);
    for (const panel of group.children) panel.hidden = panel.dataset.device !== select.value;
    enqueue([...group.querySelectorAll(".plot")].map((div) => figures.get(div.id)).filter((f) => f.div.clientWidth > 0));
  }

  for (const div of document.querySelectorAll(".plot")) {
    const source = document.querySelector('script[data-for="' + div.id + '"]');
    figures.set(div.id, { div, source, axis: div.dataset.axis, height: Number(div.dataset.height), drawn: false });
  }
  for (const bar of document.querySelectorAll("[data-range-bar]")) {
    bar.addEventListener("click", (event) => event.target.matches("button") && press(event.target));
  }
  for (const select of document.querySelectorAll("select[data-group]")) {
    select.addEventListener("change", () => choose(select));
  }
  /* On a narrow screen a long time is too dense to read: begin with its last week. */
  if (root.clientWidth < 600 && page.span[1] - page.span[0] > 8 * DAY) {
    const start = later(page.span[1] - 1, -6 * DAY, DAY);
    range = [start, later(start, 7 * DAY)];
  }
  name();
  enqueue(visible());

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => enqueue(visible()));
  let resized = 0;
  addEventListener("resize", () => {
    clearTimeout(resized);
    root.dataset.ready = "no";
    resized = setTimeout(() => enqueue(visible().filter((f) => f.width !== f.div.clientWidth)), 80);
  });
  /* On paper: light colours, and a width that a sheet has. */
  addEventListener("beforeprint", () => {
    printing = true;
    root.dataset.scheme = "light";
    visible().forEach(draw);
  });
  addEventListener("afterprint", () => {
    printing = false;
    delete root.dataset.scheme;
    visible().forEach(draw);
  });
})();
