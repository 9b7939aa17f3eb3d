// Switches between the pictures that the server draws and the scene that the browser draws. The
// latter is loaded when it is first wanted, after the first picture: nothing waits for it.
(function () {
  "use strict";
  const KEPT = "neuronaut-drawn-by";
  let view = null, wanted = "server", asked = 0, started = false;

  const act = (...what) => window.trame.trigger("act", what);
  const kept = (value) => {
    try {
      if (value) sessionStorage.setItem(KEPT, value);
      return sessionStorage.getItem(KEPT);
    } catch (_) { return null; /* storage is shut in some frames */ }
  };

  /** Whether this browser draws with a processor made for it. */
  async function hasGraphics() {
    const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
    if (!gl) return false;
    const { isSoftware } = await import("./drawn_paint.js");
    const real = !isSoftware(gl);
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    return real;
  }

  function lost(error) {
    if (error) console.warn(String(error));
    view = null;
    act("draw_by", "server");
    act("no_graphics");
  }

  async function begin() {
    const host = document.getElementById("nn-drawn");
    const { DrawnView } = await import("./drawn_view.js");
    if (wanted !== "browser" || view || !host) return;
    try {
      view = new DrawnView(host, {
        rest: (number, row, focus) => act("rested", number, row, focus),
        hit: (...what) => act("hit", ...what),
        leave: () => act("leave"),
        lost,
      });
    } catch (error) {
      lost(error);
    }
  }

  async function fetchScene() {
    if (!view || wanted !== "browser") return;
    const mine = view, number = ++asked;
    mine.expect(true);
    const bytes = await window.trame.trigger("scene", [mine.number]);
    if (view !== mine || number !== asked) return;
    if (!bytes || !bytes.byteLength) { mine.expect(false); return; }
    try {
      mine.receive(bytes);
    } catch (error) {
      mine.close();
      lost(error);
    }
  }

  function end() {
    const old = view;
    view = null;
    if (!old) return;
    old.tell();
    // The old picture of the server is out of date: what is seen stays until the new one is there.
    const before = window.trame.state.get("picture");
    const close = () => { stop(); clearTimeout(late); old.close(); };
    const stop = window.trame.state.watch(["picture"], (now) => { if (now !== before) close(); });
    const late = setTimeout(close, 3000);
  }

  async function changed(by) {
    if (by === wanted) return;
    wanted = by;
    kept(by);
    if (by !== "browser") { end(); return; }
    await begin();
    await fetchScene();
  }

  async function first(picture) {
    if (started || !picture) return;
    started = true;
    const before = kept();
    if (before === "browser" || (!before && (await hasGraphics()))) act("draw_by", "browser");
  }

  function listen() {
    if (!window.trame || !window.trame.state) { setTimeout(listen, 50); return; }
    const { state } = window.trame;
    state.watch(["drawn_by"], (by) => by && changed(by));
    state.watch(["scene"], () => fetchScene());
    state.watch(["picture"], first);
  }
  listen();
})();
