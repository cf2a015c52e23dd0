// The time-range picker: buttons and two fields that set the span of every chart of their page.
(() => {
  "use strict";
  if (window.workspaceRange) return;
  window.workspaceRange = true;

  const apply = (chart) => {
    const target = chart.querySelector(".ws-plot");
    if (!chart.dataset.range || !chart.dataset.drawn || !window.Plotly || !target) return;
    const [from, to] = chart.dataset.range.split("/");
    window.Plotly.relayout(target, { "xaxis.range": [from, to] });
  };
  const charts = (picker) => {
    const place = picker.closest(".ws-panel") ?? document;
    return [...place.querySelectorAll(".ws-chart")];
  };
  const choose = (picker, range, button) => {
    for (const one of picker.querySelectorAll("button")) {
      one.setAttribute("aria-pressed", one === button ? "true" : "false");
    }
    const [from, to] = picker.querySelectorAll("input");
    [from.value, to.value] = range.split("/").map((moment) => moment.slice(0, 16).replace(" ", "T"));
    for (const chart of charts(picker)) {
      chart.dataset.range = range;
      apply(chart);
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".ws-range button[data-range]");
    if (button) choose(button.closest(".ws-range"), button.dataset.range, button);
  });
  document.addEventListener("change", (event) => {
    const picker = event.target.closest?.(".ws-range");
    if (!picker) return;
    const [from, to] = [...picker.querySelectorAll("input")].map((input) => input.value);
    // A span that ends before it begins is somebody still typing.
    if (from && to && from < to) {
      choose(picker, `${from.replace("T", " ")}:00/${to.replace("T", " ")}:00`, null);
    }
  });
  // A chart that is drawn later (it came into view, or light became dark) keeps the span chosen.
  new MutationObserver((changes) => changes.forEach((change) => apply(change.target))).observe(
    document.documentElement, { subtree: true, attributes: true, attributeFilter: ["data-drawn"] },
  );
})();
