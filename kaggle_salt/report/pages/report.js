"use strict";
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const make = (tag, className = "", text = "") => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text) element.textContent = text;
    return element;
  };

  // Colours: as the system says, until the button says otherwise
  const root = document.documentElement;
  const button = find("#theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const recall = () => { try { return localStorage.getItem("salt-theme"); } catch { return null; } };
  const keep = (theme) => { try { localStorage.setItem("salt-theme", theme); } catch { /* private */ } };
  let theme = recall();
  const isDark = () => (theme ? theme === "dark" : system.matches);
  const dress = () => {
    root.style.colorScheme = theme || "light dark";
    button.setAttribute("aria-pressed", String(isDark()));
  };
  button.addEventListener("click", () => {
    theme = isDark() ? "light" : "dark";
    keep(theme);
    dress();
  });
  system.addEventListener("change", dress);
  dress();

  const source = find("#tiles");
  if (!source) return;
  const tiles = JSON.parse(source.textContent);
  const LAYERS = ["tile", "truth", "prediction", "error"];
  const BATCH = 24;
  const grid = find("#grid"), more = find("#more"), shown = find("#shown"), viewer = find("#viewer");
  const number = (value) => value.toLocaleString("en");
  const percent = (pixels) => `${((100 * pixels) / tiles.pixels).toFixed(1)} %`;
  const score = (tile) => (tiles.tenths[tile] / 10).toFixed(1);
  const missed = (tile) => tiles.truth[tile] - tiles.hit[tile];
  const extra = (tile) => tiles.predicted[tile] - tiles.hit[tile];

  // A sheet becomes a picture when the first of its tiles is drawn
  const urls = new Map();
  const urlOf = (sheet, layer) => {
    const key = `${sheet}-${layer}`;
    if (!urls.has(key)) {
      const holder = document.getElementById(`sheet-${key}`);
      const bytes = Uint8Array.from(atob(holder.textContent), (letter) => letter.charCodeAt(0));
      urls.set(key, URL.createObjectURL(new Blob([bytes], { type: holder.dataset.kind })));
    }
    return urls.get(key);
  };
  const share = (place, side, cells) => {
    const cell = side + 2 * tiles.margin;
    return (100 * (place * cell + tiles.margin)) / (cells * cell - side);
  };
  const draw = (panel, tile, layer) => {
    const sheet = Math.floor(tile / tiles.sheet), place = tile % tiles.sheet;
    const inSheet = Math.min(tiles.sheet, tiles.id.length - sheet * tiles.sheet);
    const rows = Math.ceil(inSheet / tiles.columns);
    const layers = layer === "tile" ? ["tile"] : [layer, "tile"];
    const wide = (tiles.columns * (tiles.width + 2 * tiles.margin)) / tiles.width;
    const high = (rows * (tiles.height + 2 * tiles.margin)) / tiles.height;
    const across = share(place % tiles.columns, tiles.width, tiles.columns);
    const down = share(Math.floor(place / tiles.columns), tiles.height, rows);
    panel.style.backgroundImage = layers.map((name) => `url("${urlOf(sheet, name)}")`).join(",");
    panel.style.backgroundSize = `${100 * wide}% ${100 * high}%`;
    panel.style.backgroundPosition = `${across}% ${down}%`;
  };
  root.style.setProperty("--ratio", `${tiles.width} / ${tiles.height}`);

  // Which tiles, in which order
  const ORDERS = {
    worst: (a, b) => a - b,  // the sheets are in this order
    best: (a, b) => b - a,
    most: (a, b) => tiles.truth[b] - tiles.truth[a] || a - b,
    least: (a, b) => tiles.truth[a] - tiles.truth[b] || a - b,
    wrong: (a, b) => missed(b) + extra(b) - missed(a) - extra(a) || a - b,
    deep: (a, b) => (tiles.depth[b] ?? -1) - (tiles.depth[a] ?? -1) || a - b,
    shallow: (a, b) => (tiles.depth[a] ?? 1e9) - (tiles.depth[b] ?? 1e9) || a - b,
    id: (a, b) => (tiles.id[a] < tiles.id[b] ? -1 : 1),
  };
  let sort = "all", list = [], drawn = 0, current = 0;
  const choose = () => {
    const from = sort === "all" ? tiles.id.map((_, tile) => tile) : tiles.sorts[sort];
    const coverage = find("#coverage").value, fold = find("#fold").value;
    const words = find("#search").value.trim().toLowerCase();
    list = from.filter((tile) =>
      (coverage === "" || tiles.class[tile] === Number(coverage)) &&
      (fold === "" || tiles.fold[tile] === Number(fold)) &&
      (words === "" || tiles.id[tile].toLowerCase().includes(words)));
    list.sort(ORDERS[find("#order").value]);
    const all = tiles.id.length;
    shown.textContent = list.length === all ? `${number(all)} tiles` : `${number(list.length)} of ${number(all)} tiles`;
    grid.replaceChildren();
    drawn = 0;
    current = 0;
    extend();
  };

  const describe = (tile) =>
    `Tile ${tiles.id[tile]}, fold ${tiles.fold[tile]}: score ${score(tile)}; ` +
    `salt ${percent(tiles.truth[tile])}, predicted ${percent(tiles.predicted[tile])}; ` +
    `${number(missed(tile))} pixels missed, ${number(extra(tile))} false`;
  const card = (tile, place) => {
    const item = make("li"), holder = make("button", "tile"), panels = make("span", "panels");
    holder.type = "button";
    holder.tabIndex = place === current ? 0 : -1;
    holder.dataset.place = String(place);
    holder.setAttribute("aria-label", describe(tile));
    for (const layer of LAYERS) {
      const panel = panels.appendChild(make("span", "panel"));
      draw(panel, tile, layer);
    }
    const caption = make("span", "caption");
    const tenths = tiles.tenths[tile];
    caption.append(
      make("code", "", tiles.id[tile]),
      make("span", "", `${percent(tiles.truth[tile])} salt`),
      make("span", "", `fold ${tiles.fold[tile]}`),
      make("span", `mark ${tenths < 4 ? "bad" : tenths < 8 ? "middling" : "good"}`, score(tile)),
    );
    holder.append(panels, caption);
    item.append(holder);
    return item;
  };
  const extend = () => {
    const until = Math.min(drawn + BATCH, list.length);
    for (; drawn < until; drawn += 1) grid.append(card(list[drawn], drawn));
    more.hidden = drawn >= list.length;
  };
  const holderAt = (place) => grid.children[place].firstElementChild;
  const go = (place) => {
    if (!list.length) return;
    const wanted = Math.max(0, Math.min(place, list.length - 1));
    while (drawn <= wanted) extend();
    holderAt(current).tabIndex = -1;
    current = wanted;
    holderAt(current).tabIndex = 0;
  };
  const across = () => {
    const top = grid.firstElementChild.offsetTop;
    const first = [...grid.children].findIndex((item) => item.offsetTop > top);
    return first < 0 ? grid.children.length : first;
  };

  // One tile, large
  const facts = (tile) => [
    ["score", score(tile)],
    ["salt", `${percent(tiles.truth[tile])}, ${number(tiles.truth[tile])} px`],
    ["predicted", `${percent(tiles.predicted[tile])}, ${number(tiles.predicted[tile])} px`],
    ["right", `${number(tiles.hit[tile])} px`],
    ["missed", `${number(missed(tile))} px`],
    ["false", `${number(extra(tile))} px`],
    ["mask", tiles.types[tiles.type[tile]]],
    ["edges that cut it", String(tiles.edges[tile])],
    ["depth", tiles.depth[tile] === null ? "unknown" : `${number(tiles.depth[tile])} ft`],
    ["fold", String(tiles.fold[tile])],
  ];
  const CAPTIONS = {
    tile: () => "tile",
    truth: (tile) => `truth: ${percent(tiles.truth[tile])} salt`,
    prediction: () => "prediction: probability of salt",
    error: (tile) => `errors: ${number(missed(tile))} px missed, ${number(extra(tile))} false`,
  };
  const fill = () => {
    const tile = list[current];
    find("#viewer-title").textContent = tiles.id[tile];
    find("#viewer-place").textContent = `${number(current + 1)} of ${number(list.length)}`;
    find("#viewer-panels").replaceChildren(...LAYERS.map((layer) => {
      const figure = make("figure"), panel = make("div", "panel");
      panel.setAttribute("role", "img");
      panel.setAttribute("aria-label", `${tiles.id[tile]}, ${CAPTIONS[layer](tile)}`);
      draw(panel, tile, layer);
      figure.append(panel, make("figcaption", "", CAPTIONS[layer](tile)));
      return figure;
    }));
    find("#viewer-facts").replaceChildren(...facts(tile).map(([name, value]) => {
      const pair = make("div");
      pair.append(make("dt", "", name), make("dd", "", value));
      return pair;
    }));
    find("#previous").disabled = current === 0;
    find("#next").disabled = current === list.length - 1;
  };
  const step = (places) => { go(current + places); fill(); };

  const KEYS = {
    ArrowLeft: () => -1, ArrowRight: () => 1,
    ArrowUp: () => -across(), ArrowDown: () => across(),
    Home: () => -current, End: () => list.length,
  };
  grid.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    go(current + KEYS[event.key]());
    holderAt(current).focus();
  });
  grid.addEventListener("click", (event) => {
    const holder = event.target.closest(".tile");
    if (!holder) return;
    go(Number(holder.dataset.place));
    fill();
    viewer.showModal();
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  viewer.addEventListener("close", () => holderAt(current).focus());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  find("#previous").addEventListener("click", () => step(-1));
  find("#next").addEventListener("click", () => step(1));
  find("#close").addEventListener("click", () => viewer.close());
  more.addEventListener("click", () => {
    const first = drawn;
    extend();
    go(first);
    holderAt(first).focus();
  });
  for (const chip of document.querySelectorAll(".chip")) {
    chip.addEventListener("click", () => {
      sort = chip.dataset.sort;
      for (const other of document.querySelectorAll(".chip")) {
        other.setAttribute("aria-pressed", String(other === chip));
      }
      choose();
    });
  }
  const filters = find("#filters");
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("input", choose);

  // Nothing is drawn before the tiles come near the screen
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    choose();
  }, { rootMargin: "600px" });
  near.observe(filters);
})();
