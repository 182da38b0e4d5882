// The status page's behaviour: live numbers, sorting, filtering, curves, theme. No dependencies.
//
// The server renders every cell's text; this file only places it. `;live` answers
// {t, facts, verdict, problems, rows, samples}; `;history` answers the curves of the last minutes.
"use strict";

const root = document.documentElement;
const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private window: not kept */ } };
if (stored("theme")) root.dataset.theme = stored("theme");

document.addEventListener("DOMContentLoaded", () => {
  const { uri, query, every, shape } = document.body.dataset;
  const $ = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // ---- theme
  $("#theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    store("theme", root.dataset.theme);
  });

  // ---- filter
  const search = $("#search"), only = $("#only");
  search.value = sessionStorage.getItem("search") || "";
  only.value = sessionStorage.getItem("only") || "";
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    sessionStorage.setItem("search", search.value);
    sessionStorage.setItem("only", only.value);
    let shown = 0;
    for (const proxy of all(".proxy")) {
      const name = proxy.dataset.name.toLowerCase();
      let rows = 0;
      for (const row of all("tbody tr", proxy)) {
        const text = name + " " + row.dataset.name.toLowerCase() + " " + row.dataset.state;
        const wanted = !only.value || (only.value === "down" ? row.matches(".down, .stop") : row.matches(".down, .stop, .warn, .full, .maint, .drain"));
        row.hidden = !(wanted && words.every((word) => text.includes(word)));
        if (!row.hidden) rows++;
      }
      proxy.hidden = rows === 0;
      shown += rows;
    }
    $("#nothing").hidden = shown > 0;
  };
  search.addEventListener("input", filter);
  only.addEventListener("change", filter);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT)$/.test(event.target.tagName)) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape" && event.target === search) { search.value = ""; filter(); }
  });

  // ---- sorting: the servers of every table by the same column; frontend and backend rows keep their places
  let order = null;
  const fromEnd = (head) => head.parentNode.cells.length - head.cellIndex; // tables with check boxes have one column more
  const sortValue = (row) => {
    const cell = row.cells[row.cells.length - order.fromEnd];
    return cell.dataset.sort !== undefined ? Number(cell.dataset.sort) : cell.textContent.trim();
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  const sort = () => {
    const key = order ? sortValue : (row) => Number(row.dataset.n), sign = order && order.down ? -1 : 1;
    for (const body of all(".proxy tbody")) {
      const keyed = all("tr.sv", body).map((row) => [key(row), row]).sort(([a], [b]) => sign * compare(a, b));
      const rows = [...all("tr:not(.sv, .be)", body), ...keyed.map(([, row]) => row), ...all("tr.be", body)];
      if (rows.some((row, at) => body.children[at] !== row)) body.append(...rows);
    }
    for (const head of all("thead th")) {
      if (order && fromEnd(head) === order.fromEnd) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  };
  document.addEventListener("click", (event) => {
    const head = event.target.closest("thead th");
    if (!head || !head.textContent.trim()) return;
    if (!order || order.fromEnd !== fromEnd(head)) order = { fromEnd: fromEnd(head), down: !head.classList.contains("l") };
    else if (order.down === !head.classList.contains("l")) order.down = !order.down;
    else order = null;
    sort();
  });
  document.addEventListener("change", (event) => {
    if (!event.target.matches(".pick-all")) return;
    for (const box of all("input[name=s]", event.target.form)) if (!box.closest("tr").hidden) box.checked = event.target.checked;
  });

  // ---- curves: rings of [rate, latency, errors], one sample a second
  const curves = new Map(); // proxy -> {rate: [], latency: [], errors: []}
  const kinds = ["rate", "latency", "errors"];
  let limit = 600;
  const human = (value) => value >= 1e6 ? (value / 1e6).toFixed(1) + "M" : value >= 1e4 ? (value / 1e3).toFixed(1) + "k" : value >= 100 || value % 1 === 0 ? value.toFixed(0) : value.toFixed(1);
  const draw = (holder) => {
    const kind = holder.dataset.kind, curve = curves.get(holder.dataset.proxy);
    const svg = $("svg", holder), values = curve ? curve[kind] : [];
    const known = values.filter((value) => value !== null);
    if (holder.matches(".spark")) holder.classList.toggle("empty", known.length === 0);
    const peak = Math.max(...known, kind === "errors" ? 1 : 0, 1e-9), shift = limit - values.length;
    let line = "", area = "", start = null, last = null;
    values.forEach((value, at) => {
      const x = ((at + shift) / (limit - 1) * 300).toFixed(1);
      if (value === null) { if (start !== null) area += `L${last} 60L${start} 60Z`; start = null; return; }
      const point = `${x} ${(58 - value / peak * 54).toFixed(1)}`;
      line += (start === null ? "M" : "L") + point;
      area += (start === null ? `M${x} 60L` : "L") + point;
      start ??= x; last = x;
    });
    if (start !== null) area += `L${last} 60L${start} 60Z`;
    $(".line", svg).setAttribute("d", line);
    $(".area", svg).setAttribute("d", area);
    const now = values.length ? values[values.length - 1] : null;
    const unit = kind === "latency" ? " ms" : "/s";
    const at = holder.dataset.at === undefined ? null : Number(holder.dataset.at) - shift;
    const shown = at !== null && at >= 0 && at < values.length ? values[at] : now;
    $("b, strong", holder).textContent = shown === null || shown === undefined ? "–" : human(shown) + (holder.matches(".spark") ? unit : "");
    const foot = $("footer", holder);
    if (foot) {
      foot.lastElementChild.textContent = "peak " + (known.length ? human(Math.max(...known)) + unit : "–");
      foot.firstElementChild.textContent = at === null ? Math.round(limit / 60) + " min" : Math.max(0, values.length - 1 - at) + " s ago";
    }
    const cursor = $(".cursor", svg);
    if (cursor) cursor.setAttribute("d", at === null ? "" : `M${(at + shift) / (limit - 1) * 300} 0V60`);
  };
  const drawAll = () => { for (const holder of all("[data-kind]")) if (!holder.closest("[hidden]")) draw(holder); };
  for (const holder of all(".chart[data-kind]")) {
    const svg = $("svg", holder);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const at = Math.round((event.clientX - box.left) / box.width * (limit - 1));
      for (const other of all(".chart[data-kind]")) { other.dataset.at = Math.min(limit - 1, Math.max(0, at)); draw(other); }
    });
    svg.addEventListener("pointerleave", () => { for (const other of all(".chart[data-kind]")) { delete other.dataset.at; draw(other); } });
  }
  const remember = (proxy, sample) => {
    let curve = curves.get(proxy);
    if (!curve) curves.set(proxy, curve = { rate: [], latency: [], errors: [] });
    kinds.forEach((kind, at) => { curve[kind].push(sample[at]); if (curve[kind].length > limit) curve[kind].shift(); });
  };

  // ---- live
  const live = $("#live");
  let paused = stored("paused") === "yes" || document.body.dataset.live === "no", seen = false, sampled = 0, failures = 0;
  const period = Number(every) * 1000 || 1000;
  const place = (cell, value) => {
    const [text, key, title] = Array.isArray(value) ? value : [value];
    if (cell.dataset.text !== text) {
      const grew = cell.matches(".e") && seen && cell.dataset.text !== undefined && key > Number(cell.dataset.sort || 0);
      cell.dataset.text = text;
      if (!cell.matches(".state")) cell.textContent = text;
      if (grew) { cell.classList.add("hot"); clearTimeout(cell.cooling); cell.cooling = setTimeout(() => cell.classList.remove("hot"), 10000); }
      cell.classList.toggle("z", text === "0");
    }
    if (key !== undefined && key !== null) cell.dataset.sort = key;
    if (title !== undefined && cell.title !== title) cell.title = title;
  };
  const show = (data) => {
    if (data.shape !== shape) { location.reload(); return; } // a reload changed what there is to show
    const rows = new Map(all("tbody tr").map((row) => [row.dataset.key, row]));
    for (const [key, state, label, since, cells] of data.rows) {
      const row = rows.get(key);
      if (!row) continue;
      if (row.dataset.state !== label) {
        row.classList.remove(row.dataset.class);
        row.classList.add(state);
        row.dataset.class = state; row.dataset.state = label;
        $(".badge", row).textContent = label;
      }
      $(".since", row).textContent = since;
      const slots = all("td.c", row);
      cells.forEach((value, at) => place(slots[at], value));
    }
    const verdict = $("#verdict");
    verdict.className = "verdict " + data.verdict[0];
    verdict.textContent = data.verdict[1];
    document.title = (data.verdict[0] === "good" ? "" : "● ") + document.title.replace(/^● /, "");
    $("#problems").replaceChildren(...data.problems.map(([level, who, what, anchor]) => {
      const item = document.createElement("li"), link = document.createElement("a"), name = document.createElement("b"), text = document.createElement("span");
      item.className = level; link.href = "#" + anchor; name.textContent = who; text.textContent = " " + what;
      link.append(name, text); item.append(link);
      return item;
    }));
    for (const [name, value] of Object.entries(data.facts)) { const slot = $("#fact-" + name); if (slot) slot.textContent = value; }
    seen = true;
    if (data.sampled !== sampled) {
      sampled = data.sampled;
      for (const [proxy, sample] of Object.entries(data.samples)) remember(proxy, sample);
    }
    if (order) sort();
    filter();
    drawAll();
  };
  const ask = async (what) => {
    const answer = await fetch(uri + ";" + what + query, { cache: "no-store", credentials: "same-origin" });
    if (!answer.ok) throw new Error(answer.status);
    return answer.json();
  };
  const turn = async () => {
    if (!paused && !document.hidden) {
      try { show(await ask("live")); failures = 0; } catch { failures++; }
      live.classList.toggle("lost", failures > 0);
      live.lastElementChild.textContent = failures > 0 ? "no answer" : "live";
    }
    setTimeout(turn, Math.min(period * 2 ** Math.min(failures, 4), 15000));
  };
  const label = () => { live.classList.toggle("on", !paused); live.lastElementChild.textContent = paused ? "paused" : "live"; live.setAttribute("aria-pressed", String(!paused)); };
  live.addEventListener("click", () => { paused = !paused; store("paused", paused ? "yes" : "no"); label(); });
  label();
  filter();
  const load = async () => {
    try {
      const data = await ask("history");
      limit = data.limit; sampled = data.sampled;
      curves.clear();
      for (const [proxy, [rate, latency, errors]] of Object.entries(data.curves)) curves.set(proxy, { rate, latency, errors });
      drawAll();
    } catch { /* the live turn says that nothing answers */ }
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) load(); });
  load().then(turn);
});
