// The pages of a report and of a site work without this script, which adds search, sorting, zoom and a choice of colours.
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const root = document.documentElement;
  const list = find("maps");
  const cards = list ? [...list.children] : [];
  root.classList.add("js");

  // Colour scheme: the system's, until the button is pressed; then the same on all pages, where the browser allows it.
  const theme = find("theme");
  try {
    if (localStorage.theme) root.dataset.theme = localStorage.theme;
  } catch { /* a page that must not store anything */ }
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => {
    theme.textContent = dark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", `Use ${dark() ? "light" : "dark"} colours`);
  };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.theme = root.dataset.theme;
    } catch { /* as above */ }
    name();
  });
  name();
  if (!list) return; // a page without maps

  // Search and sort.
  const search = find("search");
  const sort = find("sort");
  const plain = (text) => text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
  // On a site, figures stand one per run, blank without a map; one run is chosen, or the first that has a map.
  const run = find("run");
  const place = (card) => (run && run.value ? run.selectedIndex - 1 : card.dataset.p.split(" ").findIndex(Boolean));
  const figure = (card, key) => Number((card.dataset[key] ?? "").split(" ")[place(card)] || -1);
  const read = () => new Map(cards.map((card) => [card, {
    name: plain(card.dataset.name),
    index: Number(card.dataset.index),
    p: figure(card, "p"),
    targeting: figure(card, "targeting"),
    others: figure(card, "others"),
  }]));
  let facts = read();
  const numbers = new Map(cards.map((card, place) => [card, place])); // they come by number: classes, then what has none
  const { one = "map", many = "maps" } = find("count").dataset;
  const maps = (number) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
  const visible = () => [...list.children].filter((card) => !card.hidden);
  const filter = () => {
    const wanted = plain(search.value).trim();
    const number = /^\d+$/.test(wanted) ? Number(wanted) : null;
    for (const card of cards) {
      const own = facts.get(card);
      card.hidden = own.p < 0 || !(own.name.includes(wanted) || own.index === number);
    }
    const count = visible().length;
    find("count").textContent = count === cards.length ? `${maps(count)}` : `${count.toLocaleString("en")} of ${maps(cards.length)}`;
    find("nothing").hidden = count > 0;
  };
  const order = () => {
    const key = sort.value.slice(0, -1);
    const turn = sort.value.endsWith("-") ? -1 : 1;
    // What was not measured (-1) comes last in either direction.
    const missing = (own) => (key === "targeting" || key === "others") && own[key] < 0;
    cards.sort((one, other) => {
      const [a, b] = [facts.get(one), facts.get(other)];
      const first = key === "name" ? a.name.localeCompare(b.name) : key === "index" ? 0 : a[key] - b[key];
      return missing(a) - missing(b) || turn * first || numbers.get(one) - numbers.get(other);
    });
    list.append(...cards);
  };
  find("tools").hidden = false;
  find("tools").addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", filter);
  sort.addEventListener("change", order);
  const choose = () => {
    facts = read();
    for (const card of cards.filter((card) => facts.get(card).p >= 0)) {
      const { p } = facts.get(card);
      const image = card.querySelector("img");
      const folder = run.value || run.options[place(card) + 1].value;
      image.src = image.getAttribute("src").replace(/thumbs\/\d+\//, `thumbs/${folder}/`);
      card.querySelector("small").textContent = p > 99 ? "> 99 %" : p < 1 ? "< 1 %" : `${p} %`;
    }
    order();
    filter();
  };
  if (run) run.addEventListener("change", choose);
  // Browsers fill the fields in again when somebody comes back to the page.
  addEventListener("pageshow", () => {
    if (run && run.value) choose();
    if (sort.selectedIndex) order();
    if (search.value) filter();
  });
  if (!find("zoom")) return; // a site's pages have a page per class instead

  // Zoom: the card's closer look moves into the dialog, and back.
  const dialog = find("zoom");
  const body = find("zoom-body");
  const still = find("still");
  const contrast = find("contrast");
  const play = find("play");
  let shown = null;

  const paint = () => {
    const card = shown;
    const wanted = Number(contrast.value);
    const playing = play.getAttribute("aria-pressed") === "true";
    const own = Number(card.dataset.contrast);
    const fainter = wanted < own - 1e-9;
    const source = playing ? ".growth img" : ".faint img";
    const image = playing || fainter ? body.querySelector(source) : card.querySelector(".map-image");
    // contrast() scales around middle grey, as rendering does; in the fainter image next to nothing was clipped.
    const factor = wanted / (playing || !fainter ? own : Number(card.dataset.faint));
    still.src = image.src;
    still.style.filter = Math.abs(factor - 1) < 1e-6 ? "none" : `contrast(${factor})`;
    find("contrast-value").textContent = wanted.toFixed(2);
    contrast.setAttribute("aria-valuetext", wanted.toFixed(2));
    play.textContent = playing ? "Pause: show the finished map" : "Play how it grew";
  };
  const putBack = () => {
    if (shown && body.firstElementChild) shown.querySelector(".more").append(body.firstElementChild);
  };
  const show = (card) => {
    putBack();
    shown = card;
    body.append(card.querySelector(".whole"));
    const title = card.querySelector("h3").textContent;
    find("zoom-title").textContent = `${title}, ${card.querySelector(".which").textContent}`;
    still.alt = card.querySelector(".map-image").alt;
    play.setAttribute("aria-pressed", "false");
    play.hidden = !body.querySelector(".growth img");
    contrast.value = card.dataset.contrast;
    paint();
    dialog.scrollTop = 0;
  };
  const step = (places) => {
    const all = visible();
    show(all[(all.indexOf(shown) + places + all.length) % all.length]);
  };
  for (const card of cards) {
    const image = card.querySelector(".map-image");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "open";
    button.setAttribute("aria-haspopup", "dialog");
    image.replaceWith(button);
    button.append(image);
    button.addEventListener("click", () => {
      show(card);
      dialog.showModal();
    });
  }
  contrast.addEventListener("input", paint);
  play.addEventListener("click", () => {
    play.setAttribute("aria-pressed", String(play.getAttribute("aria-pressed") !== "true"));
    paint();
  });
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  find("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.target === contrast || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "Home") show(visible()[0]);
    else if (event.key === "End") show(visible().at(-1));
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("close", () => {
    putBack();
    // Focus the map that was shown last, which need not be the one that was opened.
    if (shown) shown.querySelector(".open").focus();
    shown = null;
  });
})();
