// The same keys as in the window, whatever has the focus except a text field.
(function () {
  "use strict";
  const KEYS = new Set([..."dgprfbzZyacxuonlkt,.0123456789", "Backspace", "Escape"]);
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    const typing = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
    if (event.altKey || !window.trame) return;
    let key = event.key;
    if (event.ctrlKey || event.metaKey) {  // what undoes and redoes in other programs, too
      key = event.shiftKey && key.toLowerCase() === "z" ? "Z" : key;
      if (!["z", "Z", "y"].includes(key)) return;
    }
    if (key === "/" && !typing) {
      const field = document.querySelector("#nn-find");
      if (field) { field.focus(); event.preventDefault(); }
      return;
    }
    if (typing && key === "Escape") target.blur();
    if (typing) return;
    if (key === "?" || key === "h") {
      window.trame.state.set("help_shown", !window.trame.state.get("help_shown"));
    } else if (key === "m") {
      window.trame.state.set("scale_shown", !window.trame.state.get("scale_shown"));
    } else if (KEYS.has(key)) {
      window.trame.trigger("act", ["key", key]);
    } else {
      return;
    }
    event.preventDefault();
  });
})();
