// What every page does in the browser: sort, filter and save tables, keep ages true, make charts interactive.
// No library; everything is delegated from the document, because cells arrive one after the other.
(() => {
  "use strict";
  if (window.workspacePage) return;
  window.workspacePage = true;

  const MINUTE = 60, HOUR = 3600, DAY = 86400;
  const language = () => document.documentElement.lang || "en";

  // --- tables -----------------------------------------------------------------------------------
  const value = (row, index) => {
    const cell = row.cells[index];
    if (!cell) return "";
    const raw = cell.dataset.sort ?? cell.textContent.trim();
    return raw !== "" && !Number.isNaN(Number(raw)) ? Number(raw) : raw;
  };
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), language(), { numeric: true });
  };
  const sort = (button) => {
    const head = button.closest("th");
    const table = head.closest("table");
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row, head.cellIndex), row]);
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return compare(a, b);
      return descending ? compare(b, a) : compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
    show(table);
  };
  // Rows that the filter takes, up to the table's limit as long as nobody asked for all.
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const show = (table) => {
    const words = plain(table.dataset.filter || "").split(/\s+/).filter(Boolean);
    const limit = table.dataset.all || words.length ? Infinity : Number(table.dataset.limit || Infinity);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = words.length ? plain(row.textContent) : "";
      row.hidden = !words.every((word) => text.includes(word)) || shown >= limit;
      if (!row.hidden) shown += 1;
    }
  };
  // A cell as CSV: numbers and instants as they are, text so that no program takes it for a formula.
  const field = (cell, head, button) => {
    const raw = cell.dataset.sort;
    if (raw || (raw === "" && "number" in head.dataset)) {
      const number = raw !== "" && !Number.isNaN(Number(raw));
      return number ? String(Number(raw)).replace(".", button.dataset.decimal) : raw;
    }
    const text = cell.textContent.replace(/\s+/g, " ").trim();
    return text === "–" ? "" : quoted(text, button);
  };
  const quoted = (text, button) => {
    const safe = /^\s*[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return safe.includes(button.dataset.separator) || /["\r\n]/.test(safe)
      ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const csv = (button) => {
    const table = document.getElementById(button.dataset.table);
    const heads = [...table.tHead.rows[0].cells];
    const taken = heads.filter((head) => !("skip" in head.dataset));
    const title = (head) => {
      const unit = head.querySelector(".ws-unit")?.textContent ?? "";
      const all = head.textContent.trim();
      return quoted(unit ? `${all.slice(0, all.length - unit.length).trim()} ${unit}` : all, button);
    };
    const words = table.dataset.filter;
    const rows = [...table.rows].slice(1).filter((row) => !words || !row.hidden);
    const lines = [taken.map(title)];
    for (const row of rows) {
      lines.push(taken.map((head) => field(row.cells[head.cellIndex], head, button)));
    }
    const text = "\ufeff" + lines.map((line) => line.join(button.dataset.separator) + "\r\n").join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    link.download = button.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".ws-sort");
    if (button) return sort(button);
    const save = event.target.closest?.(".ws-csv");
    if (save) return csv(save);
    const more = event.target.closest?.(".ws-more[data-table]");
    if (more) {
      const table = document.getElementById(more.dataset.table);
      table.dataset.all = "1";
      show(table);
      more.remove();
    }
  });
  document.addEventListener("input", (event) => {
    const box = event.target.closest?.(".ws-filter");
    if (!box) return;
    const table = document.getElementById(box.dataset.table);
    table.dataset.filter = box.value;
    show(table);
  });

  // --- ages -------------------------------------------------------------------------------------
  const duration = (seconds, days) => {
    if (seconds < 2 * HOUR) return `${Math.round(seconds / MINUTE)} min`;
    if (seconds < 2 * DAY) {
      const minutes = Math.round(seconds / MINUTE);
      const rest = minutes % 60;
      return `${Math.floor(minutes / 60)} h${rest ? " " + String(rest).padStart(2, "0") : ""}`;
    }
    return `${Math.round(seconds / DAY)} ${days}`;
  };
  const tick = () => {
    const now = Date.now();
    for (const element of document.querySelectorAll("time[data-ago]")) {
      const seconds = (now - Date.parse(element.dateTime)) / 1000;
      if (Number.isNaN(seconds) || seconds < 0) continue;
      element.textContent = seconds < MINUTE
        ? element.dataset.now
        : element.dataset.ago.replace("{duration}", duration(seconds, element.dataset.days));
    }
    for (const line of document.querySelectorAll(".ws-asof[data-until]")) {
      line.classList.toggle("is-stale", now > Date.parse(line.dataset.until));
    }
  };

  // --- charts -----------------------------------------------------------------------------------
  const FRENCH = {
    moduleType: "locale", name: "fr", dictionary: {},
    format: {
      days: ["dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"],
      shortDays: ["dim.", "lun.", "mar.", "mer.", "jeu.", "ven.", "sam."],
      months: ["janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août",
        "septembre", "octobre", "novembre", "décembre"],
      shortMonths: ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.",
        "oct.", "nov.", "déc."],
      date: "%d/%m/%Y", decimal: ",", thousands: "\u202f",
    },
  };
  // A page that stands alone carries the library packed; it costs nothing until a chart is seen.
  const address = async () => {
    const named = document.querySelector('meta[name="ws-plotly"]')?.content;
    if (named) return named;
    const packed = document.getElementById("ws-plotly-library");
    if (!packed) throw new Error("no chart library on this page");
    const bytes = Uint8Array.from(atob(packed.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(stream).blob();
    return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  };
  let library = null;
  const plotly = () => {
    if (window.Plotly) return Promise.resolve(window.Plotly);
    library ??= address().then((found) => new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = found;
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => reject(new Error("the chart library could not be loaded"));
      document.head.append(script);
    }));
    return library;
  };
  // Colours stand in a figure as "var(--ws-…)"; they are looked up when it is drawn, so that it
  // follows light and dark.
  const colours = (node, style) => {
    if (typeof node === "string") {
      return node.replace(/var\((--ws-[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
    }
    if (Array.isArray(node)) {
      return node.length && typeof node[0] === "number" ? node : node.map((n) => colours(n, style));
    }
    if (node && typeof node === "object") {
      return Object.fromEntries(Object.entries(node).map(([k, v]) => [k, colours(v, style)]));
    }
    return node;
  };
  const draw = async (chart) => {
    const Plotly = await plotly();
    const spoken = chart.lang || language();
    if (spoken === "fr") Plotly.register(FRENCH);
    const target = chart.querySelector(".ws-plot");
    const figure = JSON.parse(chart.querySelector("script.ws-figure").textContent);
    const coloured = colours(figure, getComputedStyle(chart));
    const narrow = chart.clientWidth < 560;
    for (const [path, changed] of narrow ? Object.entries(coloured.narrow) : []) {
      const keys = path.split(".");
      const last = keys.pop();
      keys.reduce((node, key) => node[key], coloured.layout)[last] = changed;
    }
    if (narrow) {
      const labels = coloured.layout.annotations;
      coloured.layout.annotations = labels.filter((label) => label.name !== "label");
    }
    coloured.layout.width = chart.clientWidth;
    chart.classList.add("is-live");
    await Plotly.react(target, coloured.data, coloured.layout, {
      displaylogo: false, displayModeBar: false, responsive: false, doubleClick: "reset",
      locale: spoken,
    });
    chart.dataset.drawn = "1";
  };
  const seen = "IntersectionObserver" in window
    ? new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        seen.unobserve(entry.target);
        // The drawing stays when the library is missing or fails: nothing to tell the reader.
        draw(entry.target).catch(() => entry.target.classList.remove("is-live"));
      }
    }, { rootMargin: "200px" })
    : null;
  const find = () => {
    for (const chart of document.querySelectorAll(".ws-chart:not([data-seen])")) {
      if (!chart.querySelector("script.ws-figure")) continue;
      chart.dataset.seen = "1";
      seen?.observe(chart);
    }
  };
  const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 200));
  let waiting = null;
  const redraw = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const chart of document.querySelectorAll(".ws-chart[data-drawn]")) draw(chart);
    }, 150);
  };
  window.addEventListener("resize", redraw);
  window.matchMedia?.("(prefers-color-scheme: dark)").addEventListener?.("change", redraw);
  // One A4 page: lay the page out as it will be printed, and scale it down if it is longer.
  const PAPER = { width: 718, height: 1040, fit: 0.64 };
  const fit = () => {
    const body = document.body;
    if (!body.classList.contains("ws")) return;
    const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
      .filter((rule) => rule.media?.mediaText === "print");
    const width = body.style.width;
    let scale = PAPER.fit;
    for (const rule of rules) rule.media.mediaText = "all";
    for (let step = 0; step < 6; step += 1) {
      body.style.setProperty("--ws-fit", scale);
      body.style.width = `${PAPER.width / scale}px`;
      const height = body.getBoundingClientRect().height;
      if (height <= PAPER.height || scale <= 0.25) break;
      scale = Math.max(0.25, scale * Math.min(0.97, PAPER.height / height));
    }
    for (const rule of rules) rule.media.mediaText = "print";
    body.style.width = width;
  };
  window.addEventListener("beforeprint", () => {
    fit();
    for (const chart of document.querySelectorAll(".ws-chart.is-live")) chart.classList.remove("is-live");
  });
  window.addEventListener("afterprint", redraw);

  // --- a static page that was made again --------------------------------------------------------
  const renew = () => {
    const made = document.body.dataset.wsMade;
    if (!made || !location.protocol.startsWith("http")) return;
    setInterval(async () => {
      if (document.hidden) return;
      const answer = await fetch(location.href, { method: "HEAD", cache: "no-cache" })
        .catch(() => null);
      const newer = answer?.ok && answer.headers.get("X-Workspace-Made");
      if (newer && newer !== made) location.reload();
    }, 60000);
  };

  // --- a live session that ended ----------------------------------------------------------------
  const watch = () => {
    const kernel = document.body.dataset.wsKernel;
    if (!kernel) return;
    const look = setInterval(async () => {
      const answer = await fetch(kernel, { credentials: "same-origin" }).catch(() => null);
      if (answer && answer.status !== 404) return;
      clearInterval(look);
      document.getElementById("ws-ended")?.removeAttribute("hidden");
    }, 20000);
  };

  const start = () => {
    tick();
    setInterval(tick, 20000);
    idle(find);
    new MutationObserver(() => idle(find)).observe(document.body, { childList: true, subtree: true });
    watch();
    renew();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
