// The same keys as in the window, whatever has the focus except a text field.
(function () {
  "use strict";
  const KEYS = new Set(["r", "o", "l", "t", "Escape"]);
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    const typing = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !typing) {
      const field = document.querySelector("#nn-find");
      if (field) { field.focus(); event.preventDefault(); }
      return;
    }
    if (typing && event.key === "Escape") target.blur();
    if (typing || !KEYS.has(event.key) || !window.trame) return;
    window.trame.trigger("act", ["key", event.key]);
    event.preventDefault();
  });
})();
