// Keeps [data-live] up to date: fetches the page at intervals and replaces what has changed in it. The page works without it.
// A form whose button has data-busy shows that text from its submission until the answer comes.
"use strict";
(() => {
  for (const button of document.querySelectorAll("button[data-busy]")) {
    const text = button.textContent;
    button.form.addEventListener("submit", () => { button.textContent = button.dataset.busy; button.disabled = true; });
    addEventListener("pageshow", () => { button.textContent = text; button.disabled = false; }); // back from another page
  }
})();
(() => {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  const offline = document.getElementById("offline");
  const every = Number(live.dataset.every);
  let mark = "";
  let wait = every;

  const keyed = (node) => [...node.children].filter((child) => child.dataset.key !== undefined);

  // New images are fetched before anything is replaced, so that nothing flickers and the whole page is of one moment.
  const fetchImages = (node) => {
    const shown = new Set([...live.querySelectorAll("img")].map((image) => image.src));
    return Promise.all([...node.querySelectorAll("img")].filter((image) => !shown.has(image.src)).map((image) => {
      const preloaded = new Image();
      preloaded.src = image.src;
      return preloaded.decode().catch(() => {});
    }));
  };

  const replace = (old, fresh) => {
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const selector = focused && (focused.id ? `#${CSS.escape(focused.id)}` : focused.tagName.toLowerCase());
    for (const image of fresh.querySelectorAll("img")) image.removeAttribute("loading");
    old.replaceWith(fresh);
    if (selector) fresh.querySelector(selector)?.focus({ preventScroll: true });
  };

  // Children with the same key are the same thing before and after; those that hold such children are merged in turn.
  const merge = (old, fresh) => {
    const before = new Map(keyed(old).map((child) => [child.dataset.key, child]));
    const after = keyed(fresh);
    let last = null;
    for (const child of after) {
      const known = before.get(child.dataset.key);
      before.delete(child.dataset.key);
      let now = child;
      if (known && known.outerHTML.replaceAll(' loading="lazy"', "") === child.outerHTML.replaceAll(' loading="lazy"', "")) now = known;
      else if (known && keyed(child).length) { merge(known, child); now = known; }
      else if (known) replace(known, child);
      const place = last ? last.nextElementSibling : old.firstElementChild;
      if (place !== now) old.insertBefore(now, place);
      last = now;
    }
    for (const gone of before.values()) gone.remove();
  };

  const update = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: mark ? { "If-None-Match": mark } : {}, cache: "no-store" });
        if (answer.status === 200) {
          mark = answer.headers.get("ETag") ?? "";
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.querySelector("[data-live]");
          await fetchImages(fresh);
          merge(live, fresh);
        }
        wait = every;
        offline.hidden = answer.status < 400 || answer.status === 304;
      } catch {
        offline.hidden = false;
        wait = Math.min(2 * wait, 15000);
      }
    }
    setTimeout(update, wait);
  };
  setTimeout(update, every);
})();
