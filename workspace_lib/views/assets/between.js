// Sums between two days: what views/between.py computes for the first picture, for any other two days.
(() => {
  "use strict";
  if (window.workspaceBetween) return;
  window.workspaceBetween = true;

  const DAY = 86400000;
  const number = (value, digits, language) =>
    value === null ? "–" : value.toLocaleString(language, {
      minimumFractionDigits: digits, maximumFractionDigits: digits,
    });
  const sum = (data, row, first, last) => {
    const start = Date.parse(data.first);
    const begin = Math.max(0, (Date.parse(first) - start) / DAY);
    const end = Math.max(begin, Math.min(row.values.length, (Date.parse(last) - start) / DAY + 1));
    const asked = (Date.parse(last) - Date.parse(first)) / DAY + 1;
    let total = null, share = 0, largest = null, day = null;
    for (let n = begin; n < end; n += 1) {
      share += row.shares[n];
      const value = row.values[n];
      if (value === null) continue;
      total = (total ?? 0) + value;
      if (value > 0 && (largest === null || value > largest)) [largest, day] = [value, n];
    }
    const when = day === null ? null : new Date(start + day * DAY);
    return { total, share: share / asked, largest, when };
  };
  const show = (block, first, last, button) => {
    const data = JSON.parse(block.querySelector("script").textContent);
    const language = block.lang || "en";
    const lines = block.querySelectorAll("tbody tr");
    data.rows.forEach((row, index) => {
      const found = sum(data, row, first, last);
      const [, total, share, largest, day] = lines[index].cells;
      const put = (cell, value, text) => {
        cell.textContent = text;
        cell.dataset.sort = value ?? "";
      };
      put(total, found.total, number(found.total, data.digits, language));
      put(share, found.share, found.share.toLocaleString(language, {
        style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1,
      }));
      put(largest, found.largest, number(found.largest, data.digits, language));
      // In words for the reader, as ISO 8601 for the file that is saved.
      const on = found.when;
      day.textContent = on
        ? `${on.getUTCDate()} ${data.months[on.getUTCMonth()]} ${on.getUTCFullYear()}` : "–";
      if (on) day.dataset.sort = on.toISOString().slice(0, 10);
      else delete day.dataset.sort;
    });
    for (const one of block.querySelectorAll("button[data-days]")) {
      one.setAttribute("aria-pressed", one === button ? "true" : "false");
    }
    [block.querySelectorAll("input")[0].value, block.querySelectorAll("input")[1].value] = [first, last];
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".ws-between button[data-days]");
    if (button) show(button.closest(".ws-between"), ...button.dataset.days.split("/"), button);
  });
  document.addEventListener("change", (event) => {
    const block = event.target.closest?.(".ws-between");
    if (!block) return;
    const [first, last] = [...block.querySelectorAll("input")].map((input) => input.value);
    // Days in the wrong order are somebody still typing.
    if (first && last && first <= last) show(block, first, last, null);
  });
})();
