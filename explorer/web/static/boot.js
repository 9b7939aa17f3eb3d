// Runs before the page's library: takes the key out of the address bar, keeps it for a reload of
// this tab only, and tells the server the window's size so that the first picture fits at once.
(function () {
  "use strict";
  const query = new URLSearchParams(location.search);
  const key = query.get("key") || "";
  let tab = "";
  try {
    sessionStorage.setItem("neuronaut-key", key);
    tab = sessionStorage.getItem("neuronaut-tab") || "";
    if (!tab) {
      tab = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) =>
        b.toString(16).padStart(2, "0")).join("");
      sessionStorage.setItem("neuronaut-tab", tab);
    }
  } catch (_) { /* storage is shut in some frames: a reload then needs the whole address */ }
  // The panel, the bar and the legend (page.css) stand around the picture.
  const ws = new URL("ws", document.baseURI);
  ws.protocol = ws.protocol === "https:" ? "wss:" : "ws:";
  ws.search = new URLSearchParams({
    key, tab, w: innerWidth - 340, h: innerHeight - 48 - 88, p: devicePixelRatio || 1,
  });
  const next = new URLSearchParams({ sessionURL: ws.href, secret: key });
  history.replaceState(null, "", location.pathname + "?" + next);
})();
