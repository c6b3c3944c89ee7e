// The viewer of maps. It finds every <div class="explorer"> and the JSON that its data-config names, and builds itself.
// Pixels come from pictures in the page (layer.src, values) or from a server (tiles); all else is one code.
// World coordinates are pixels of the map: x to the right (columns), y down (rows).
(() => {
  "use strict";
  const STEP = 0.125, ZOOM = 1.5, LARGEST = 48, LINGER_MS = 60;

  function make(tag, props = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
      if (name in node && typeof value !== "string") node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const degrees = (value, ends) => `${Math.abs(value).toFixed(5)}° ${value < 0 ? ends[1] : ends[0]}`;

  async function unpack(field, count) {
    const bytes = Uint8Array.from(atob(field.data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(stream).arrayBuffer();
    const values = field.as === "u2" ? new Uint16Array(buffer) : new Uint8Array(buffer);
    if (values.length !== count) throw new Error(`${field.title}: ${values.length} values, expected ${count}`);
    return { ...field, values };
  }

  class Explorer {
    constructor(root, config) {
      this.root = root;
      this.config = config;
      [this.height, this.width] = config.shape;
      this.view = { x: this.width / 2, y: this.height / 2, scale: 1 };
      this.swipe = { on: false, at: 0.5 };
      this.part = -1;
      this.pointers = new Map();
      this.build();
      this.fields = config.values
        ? Promise.all(config.values.map((field) => unpack(field, config.small[0] * config.small[1])))
        : null;
      new ResizeObserver(() => this.resized()).observe(this.stage);
      this.resized();
    }

    build() {
      const name = this.config.name;
      this.layers = this.config.layers.map((layer) => ({ ...layer, pane: make("div", { class: "pane" }), held: new Map() }));
      this.line = make("div", { class: "swipe-line", hidden: true }, make("span", { "aria-hidden": "true" }, "◂▸"));
      this.cross = make("div", { class: "cross", "aria-hidden": "true" });
      this.bar = make("div", { class: "scale-bar", "aria-hidden": "true" });
      this.readout = make("output", { class: "readout", id: `${this.root.id}-readout` }, "Point at the map, or focus it and use the arrow keys.");
      this.stage = make("div", {
        class: "stage", tabindex: "0", role: "application", "aria-roledescription": "map",
        "aria-label": `Map ${name}. Arrow keys move, with Shift by one pixel; plus and minus zoom; 0 shows all of it.`,
        "aria-describedby": this.readout.id,
      }, ...this.layers.map((layer) => layer.pane), this.line, this.cross, this.bar);
      const button = (label, sign, act) => {
        const node = make("button", { type: "button", "aria-label": label, title: label }, sign);
        node.addEventListener("click", act);
        return node;
      };
      const buttons = make("div", { class: "buttons", role: "group", "aria-label": "Zoom" },
        button("Zoom in", "+", () => this.zoom(ZOOM)), button("Zoom out", "−", () => this.zoom(1 / ZOOM)),
        button("Show all of the map", "⤢", () => this.fit()));
      const parts = this.config.pieces.length;
      if (parts > 1) buttons.append(button(`Go to the next of the map’s ${parts} parts`, "⇥", () => this.visit((this.part + 1) % parts)));
      const panel = make("div", { class: "panel" }, this.buildLayers(), this.buildSwipe());
      this.legend = make("div", { class: "legends", role: "group", "aria-label": "Legend" });
      panel.append(this.legend);
      if (this.config.small[0] !== this.height || this.config.small[1] !== this.width) {
        const step = (this.height / this.config.small[0]).toFixed(1).replace(/\.0$/, "");
        panel.append(make("p", { class: "note" }, `This page holds the middle pixel of every ${step} × ${step}: what is read out is the map’s value there. “thalweg view” shows all pixels.`));
      }
      this.root.replaceChildren(make("div", { class: "frame" }, this.stage, buttons), this.readout, panel);
      this.listen();
      this.showLegend();
    }

    buildLayers() {
      const list = make("fieldset", { class: "layers" }, make("legend", {}, "Layers, the topmost first"));
      for (const layer of [...this.layers].reverse()) {
        const box = make("input", { type: "checkbox", checked: layer.shown });
        const slider = make("input", { type: "range", min: "0", max: "100", value: String(Math.round(layer.opacity * 100)), "aria-label": `Opacity of ${layer.title}`, title: "Opacity" });
        box.addEventListener("change", () => { layer.shown = box.checked; this.showLegend(); this.draw(); });
        slider.addEventListener("input", () => { layer.opacity = slider.value / 100; this.draw(); });
        list.append(make("div", { class: "layer", "data-layer": layer.key }, make("label", {}, box, layer.title), slider));
      }
      return list;
    }

    buildSwipe() {
      const box = make("input", { type: "checkbox" });
      const slider = make("input", { type: "range", min: "0", max: "100", value: "50", disabled: true, "aria-label": "Position of the swipe line" });
      this.swipeSays = make("span", { class: "soft" });
      box.addEventListener("change", () => { this.swipe.on = box.checked; slider.disabled = !box.checked; this.draw(); });
      slider.addEventListener("input", () => { this.swipe.at = slider.value / 100; this.draw(); });
      this.swipeTo = (at) => { this.swipe.at = clamp(at, 0, 1); slider.value = String(Math.round(this.swipe.at * 100)); this.draw(); };
      return make("fieldset", { class: "swipe" }, make("legend", {}, "Compare"),
        make("div", { class: "layer" }, make("label", {}, box, "Swipe the topmost layer"), slider), this.swipeSays);
    }

    listen() {
      const stage = this.stage;
      stage.addEventListener("wheel", (event) => {
        if (!this.config.tiles && !event.ctrlKey && document.activeElement !== stage) return;
        event.preventDefault();
        this.zoom(event.deltaY < 0 ? ZOOM : 1 / ZOOM, this.place(event));
      }, { passive: false });
      stage.addEventListener("dblclick", (event) => this.zoom(ZOOM, this.place(event)));
      stage.addEventListener("keydown", (event) => this.key(event));
      stage.addEventListener("pointerdown", (event) => {
        if (event.target.closest(".swipe-line")) return;
        stage.setPointerCapture(event.pointerId);
        this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      });
      stage.addEventListener("pointermove", (event) => this.moved(event));
      for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
      this.line.addEventListener("pointerdown", (event) => this.line.setPointerCapture(event.pointerId));
      this.line.addEventListener("pointermove", (event) => {
        if (!this.line.hasPointerCapture(event.pointerId)) return;
        const box = stage.getBoundingClientRect();
        this.swipeTo((event.clientX - box.left) / box.width);
      });
    }

    key(event) {
      const reach = event.shiftKey ? 1 : STEP * Math.min(stageSize(this.stage)[0], stageSize(this.stage)[1]) / this.view.scale;
      const moves = { ArrowLeft: [-reach, 0], ArrowRight: [reach, 0], ArrowUp: [0, -reach], ArrowDown: [0, reach] };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (moves[event.key]) this.pan(...moves[event.key]);
      else if (event.key === "+" || event.key === "=") this.zoom(ZOOM);
      else if (event.key === "-" || event.key === "_") this.zoom(1 / ZOOM);
      else if (event.key === "0" || event.key === "Home") this.fit();
      else return;
      event.preventDefault();
      this.tell(this.view, true);
    }

    moved(event) {
      const before = this.pointers.get(event.pointerId);
      if (!before) { if (event.pointerType === "mouse") this.tell(this.place(event), false); return; }
      const now = { x: event.clientX, y: event.clientY };
      if (this.pointers.size === 2) {
        const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
        const spread = (at) => Math.max(Math.hypot(at.x - other.x, at.y - other.y), 1);
        this.zoom(spread(now) / spread(before), this.place({ clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 }));
      } else this.pan((before.x - now.x) / this.view.scale, (before.y - now.y) / this.view.scale);
      this.pointers.set(event.pointerId, now);
      this.tell(this.place(event), false);
    }

    place(event) {
      const box = this.stage.getBoundingClientRect();
      return { x: this.view.x + (event.clientX - box.left - box.width / 2) / this.view.scale,
               y: this.view.y + (event.clientY - box.top - box.height / 2) / this.view.scale };
    }

    resized() {
      const [wide, high] = stageSize(this.stage);
      if (!wide || !high) return;
      this.smallest = Math.min(wide / this.width, high / this.height);
      if (this.fitted) this.draw();
      else if (this.config.pieces.length > 1) this.visit(0);
      else this.fit();
    }

    fit() {
      this.fitted = true;
      this.view = { x: this.width / 2, y: this.height / 2, scale: this.smallest };
      this.draw();
    }

    // Shows one of the parts of a map whose scenes lie so far apart that on the whole of it little could be seen.
    visit(part) {
      const [top, left, high, wide] = this.config.pieces[part], [across, down] = stageSize(this.stage);
      this.fitted = true;
      this.part = part;
      this.view = { x: left + wide / 2, y: top + high / 2, scale: clamp(Math.min(across / wide, down / high), this.smallest, LARGEST) };
      this.draw();
    }

    pan(x, y) {
      this.view.x = clamp(this.view.x + x, 0, this.width);
      this.view.y = clamp(this.view.y + y, 0, this.height);
      this.draw();
    }

    zoom(factor, about = this.view) {
      const scale = clamp(this.view.scale * factor, this.smallest / 2, Math.max(LARGEST, this.smallest));
      const kept = this.view.scale / scale;
      this.view = { x: clamp(about.x + (this.view.x - about.x) * kept, 0, this.width),
                    y: clamp(about.y + (this.view.y - about.y) * kept, 0, this.height), scale };
      this.draw();
    }

    draw() {
      if (this.drawing) return;
      this.drawing = requestAnimationFrame(() => { this.drawing = null; this.render(); });
    }

    render() {
      const [wide, high] = stageSize(this.stage);
      const shown = this.layers.filter((layer) => layer.shown);
      const top = shown[shown.length - 1];
      for (const layer of this.layers) {
        layer.pane.hidden = !layer.shown;
        layer.pane.style.opacity = layer.opacity;
        layer.pane.style.clipPath = this.swipe.on && layer === top ? `inset(0 ${100 - this.swipe.at * 100}% 0 0)` : "";
        if (layer.shown) this.fill(layer, wide, high);
      }
      this.line.hidden = !this.swipe.on;
      this.line.style.left = `${this.swipe.at * 100}%`;
      this.swipeSays.textContent = this.swipe.on ? (top ? `Left of the line: ${top.title}` : "No layer is shown") : "";
      const metres = this.config.pixel_m / this.view.scale, most = 120 * metres, tenth = 10 ** Math.floor(Math.log10(most));
      const length = Math.max(...[1, 2, 5].map((step) => step * tenth).filter((each) => each <= most));
      this.bar.style.width = `${length / metres}px`;
      this.bar.textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
      this.settle();
    }

    fill(layer, wide, high) {
      const { x, y, scale } = this.view;
      const wanted = this.config.tiles ? this.tiles(layer, wide, high) : [{ key: "all", src: layer.src, x: 0, y: 0, w: this.width, h: this.height, grain: this.width / this.config.small[1] }];
      const keys = new Set(wanted.map((tile) => tile.key));
      for (const tile of wanted) {
        if (layer.held.has(tile.key)) continue;
        const image = make("img", { alt: "", draggable: false, decoding: "async" });
        const entry = { tile, image, done: false };
        const ended = () => { entry.done = true; this.draw(); };
        image.addEventListener("load", ended);
        image.addEventListener("error", () => { entry.failed = true; ended(); });
        image.src = tile.src;
        layer.held.set(tile.key, entry);
        layer.pane.append(image);
      }
      const ready = wanted.every((tile) => layer.held.get(tile.key).done);
      for (const [key, { tile, image }] of layer.held) {
        if (ready && !keys.has(key)) { image.remove(); layer.held.delete(key); continue; }
        const left = Math.round((tile.x - x) * scale + wide / 2), above = Math.round((tile.y - y) * scale + high / 2);
        const right = Math.round((tile.x + tile.w - x) * scale + wide / 2), below = Math.round((tile.y + tile.h - y) * scale + high / 2);
        Object.assign(image.style, { left: `${left}px`, top: `${above}px`, width: `${right - left}px`, height: `${below - above}px`,
                                     imageRendering: tile.grain * scale >= 1.5 ? "pixelated" : "auto" });
      }
      layer.ready = ready;
    }

    tiles(layer, wide, high) {
      const { size, levels, url } = this.config.tiles, { x, y, scale } = this.view;
      const level = clamp(Math.round(-Math.log2(scale * devicePixelRatio)), 0, levels - 1), span = size * 2 ** level;
      const first = (at, reach) => Math.max(Math.floor((at - reach / scale / 2) / span), 0);
      const last = (at, reach, end) => Math.min(Math.floor((at + reach / scale / 2) / span), Math.ceil(end / span) - 1);
      const found = [];
      for (let row = first(y, high); row <= last(y, high, this.height); row++) {
        for (let col = first(x, wide); col <= last(x, wide, this.width); col++) {
          const src = url.replace("{layer}", layer.key).replace("{level}", level).replace("{row}", row).replace("{col}", col);
          found.push({ key: `${level}/${row}/${col}`, src, x: col * span, y: row * span, w: span, h: span, grain: 2 ** level });
        }
      }
      return found;
    }

    settle() {
      const done = this.layers.every((layer) => !layer.shown || layer.ready);
      this.root.dataset.ready = String(done);
      if (done && !this.root.dataset.first) this.root.dataset.first = String(Math.round(performance.now()));
    }

    showLegend() {
      const shown = this.layers.filter((layer) => layer.shown);
      const parts = [];
      if (shown.some((layer) => layer.kind === "classes")) {
        parts.push(make("ul", { class: "legend", "aria-label": "Classes" }, ...this.config.classes.map((each) => {
          const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
          swatch.style.background = each.color;
          return make("li", {}, swatch, each.name);
        })));
      }
      for (const layer of shown.filter((each) => each.ramp)) {
        const ramp = make("span", { class: "ramp", "aria-hidden": "true" });
        ramp.style.background = `linear-gradient(90deg, ${layer.ramp.colors})`;
        parts.push(make("p", { class: "key" }, `${layer.title}: `, make("span", { class: "ends" }, `${layer.ramp.low} `, ramp, ` ${layer.ramp.high}`)));
      }
      this.legend.replaceChildren(...parts);
    }

    // Tells what the map holds at a place; aloud where the keyboard went there.
    async tell(at, aloud) {
      this.told = { row: Math.floor(at.y), col: Math.floor(at.x) };
      if (this.telling) return;
      this.telling = true;
      this.readout.setAttribute("aria-live", aloud ? "polite" : "off");
      while (this.told) {
        const { row, col } = this.told;
        this.told = null;
        const inside = row >= 0 && col >= 0 && row < this.height && col < this.width;
        this.readout.textContent = inside ? this.say(await this.read(row, col)) : "outside of the map";
        if (this.config.tiles) await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
      }
      this.telling = false;
    }

    async read(row, col) {
      if (this.config.tiles) {
        const answer = await fetch(this.config.tiles.value.replace("{row}", row).replace("{col}", col));
        return { row, col, told: answer.ok ? await answer.json() : [], fault: answer.ok ? null : await answer.text() };
      }
      const [high, wide] = this.config.small;
      const line = Math.floor(row * high / this.height), column = Math.floor(col * wide / this.width);
      const told = (await this.fields).map(({ title, kind, scale, nodata, values }) => {
        const value = values[line * wide + column];
        return { title, kind, scale, value: value === nodata ? null : value };
      });
      const middle = (each, count, length) => Math.min(Math.floor((each + 0.5) * length / count), length - 1);
      return { row: middle(line, high, this.height), col: middle(column, wide, this.width), told };
    }

    say({ row, col, told, fault }) {
      const words = told.filter(({ value }) => value !== null).map(({ title, kind, scale, value }) =>
        kind === "classes" ? `${title} ${this.config.classes[value] ? this.config.classes[value].name : value}` : `${title} ${(value * scale).toFixed(3)}`);
      const [east, north] = this.lonlat(row + 0.5, col + 0.5);
      const [a, b, c, d, e, f] = this.config.transform;
      const metres = [a * (col + 0.5) + b * (row + 0.5) + c, d * (col + 0.5) + e * (row + 0.5) + f].map((each) => each.toFixed(1));
      const [top, left] = this.config.origin;
      return `${fault || words.reverse().join(" · ") || "nothing was measured here"} — row ${row + top}, column ${col + left} · ${degrees(north, "NS")}, ${degrees(east, "EW")} · ${metres.join(", ")}`;
    }

    lonlat(row, col) {
      const { lattice, lon, lat } = this.config, cells = lattice - 1;
      const down = clamp(row / this.height * cells, 0, cells), across = clamp(col / this.width * cells, 0, cells);
      const i = Math.min(Math.floor(down), cells - 1), j = Math.min(Math.floor(across), cells - 1), u = down - i, v = across - j;
      const mix = (grid) => (1 - u) * ((1 - v) * grid[i * lattice + j] + v * grid[i * lattice + j + 1])
                          + u * ((1 - v) * grid[(i + 1) * lattice + j] + v * grid[(i + 1) * lattice + j + 1]);
      return [mix(lon), mix(lat)];
    }
  }

  const stageSize = (stage) => [stage.clientWidth, stage.clientHeight];

  for (const root of document.querySelectorAll("div.explorer")) {
    root.explorer = new Explorer(root, JSON.parse(document.getElementById(root.dataset.config).textContent));
  }
})();
