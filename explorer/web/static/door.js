// A reload of a tab whose address no longer shows the key: try the one kept for this tab, once.
(function () {
  "use strict";
  try {
    const key = sessionStorage.getItem("neuronaut-key");
    sessionStorage.removeItem("neuronaut-key");
    if (key && !new URLSearchParams(location.search).has("key")) {
      location.replace(location.pathname + "?" + new URLSearchParams({ key }));
    }
  } catch (_) { /* no storage: the message on the page says what to do */ }
})();
