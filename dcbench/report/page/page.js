"use strict";

(() => {
  const form = document.querySelector("form.filters");
  const bodies = [...document.querySelectorAll(".board-table > tbody")];
  const heads = [...document.querySelectorAll(".board-table button[data-key]")];
  const known = new Set(["all"]);
  bodies.forEach((body, place) => { body.first = place; });

  function open(element) {
    for (let own = element; own; own = own.parentElement) {
      if (own.tagName === "DETAILS") own.open = true;
    }
  }

  // ---- filters

  function fits(body) {
    const { dataset, ipc, method } = form.elements;
    return (dataset.value === "all" || body.dataset.dataset === dataset.value)
      && (ipc.value === "all" || body.dataset.ipc === ipc.value)
      && body.dataset.label.toLowerCase().includes(method.value.trim().toLowerCase());
  }

  function filter() {
    const { dataset, method } = form.elements;
    let shown = 0;
    for (const body of bodies) {
      body.hidden = !fits(body);
      shown += body.hidden ? 0 : 1;
    }
    for (const table of document.querySelectorAll(".board-table")) {
      table.hidden = !table.querySelector("tbody:not([hidden])");
      const settings = table.closest("details.settings");
      if (settings) settings.hidden = table.hidden;
    }
    for (const board of document.querySelectorAll(".board")) {
      board.hidden = !board.querySelector("tbody:not([hidden])");
    }
    const wanted = dataset.value === "all" ? "" : `-${dataset.value}-`;
    for (const plot of document.querySelectorAll(".plots figure")) {
      plot.hidden = !`${plot.dataset.datasets}-`.includes(wanted);
    }
    document.getElementById("nothing").hidden = shown > 0;
    form.querySelector("output").textContent = `${shown} of ${bodies.length} rows`;
    if (method.value && shown) {
      for (const body of bodies) if (!body.hidden && body.closest("details.settings")) open(body.closest("details"));
    }
  }

  // A row without a figure stands last in both directions; what is equal keeps the order in which the page was written.
  function compare(key, sign) {
    const value = (body) => body.querySelector(`.${key}`).dataset.value;
    return (a, b) => {
      const [one, other] = [value(a), value(b)];
      if (one === "none" || other === "none") return (one === "none") - (other === "none") || a.first - b.first;
      const order = key === "method" ? one.localeCompare(other) : Number(one) - Number(other);
      return sign * order || a.first - b.first;
    };
  }

  function sort(key, direction) {
    const order = key ? compare(key, direction === "descending" ? -1 : 1) : (a, b) => a.first - b.first;
    for (const table of document.querySelectorAll(".board-table")) {
      table.append(...[...table.tBodies].sort(order));
    }
    for (const head of heads) {
      head.closest("th").setAttribute("aria-sort", head.dataset.key === key ? direction : "none");
    }
    form.elements.sort.value = key;
  }

  function first(key) {
    const head = heads.find((each) => each.dataset.key === key);
    return head ? head.dataset.first : "none";
  }

  // ---- the address keeps what is shown: #cifar10/ipc10/method=dm/sort=accuracy

  function remember() {
    const { dataset, ipc, method, sort: sorted } = form.elements;
    const parts = [dataset.value];
    if (ipc.value !== "all") parts.push(`ipc${ipc.value}`);
    if (method.value) parts.push(`method=${encodeURIComponent(method.value)}`);
    if (sorted.value) parts.push(`sort=${sorted.value}`);
    const state = parts.length === 1 && parts[0] === "all" ? " " : `#${parts.join("/")}`;
    history.replaceState(null, "", state === " " ? location.pathname + location.search : state);
  }

  function recall() {
    const words = location.hash.slice(1).split("/");
    const target = document.getElementById(location.hash.slice(1));
    if (target) {
      open(target);
      target.scrollIntoView();
      return;
    }
    if (!known.has(words[0])) return;
    const { dataset, method } = form.elements;
    dataset.value = words[0];
    for (const word of words.slice(1)) {
      const budget = form.querySelector(`input[name="ipc"][value="${CSS.escape(word.replace(/^ipc/, ""))}"]`);
      if (word.startsWith("ipc") && budget) budget.checked = true;
      if (word.startsWith("method=")) method.value = decodeURIComponent(word.slice(7));
      if (word.startsWith("sort=") && first(word.slice(5)) !== "none") sort(word.slice(5), first(word.slice(5)));
    }
    filter();
  }

  if (form) {
    for (const option of form.elements.dataset.options) known.add(option.value);
    heads.forEach((head) => head.addEventListener("click", () => {
      const now = head.closest("th").getAttribute("aria-sort");
      const other = now === "ascending" ? "descending" : "ascending";
      sort(head.dataset.key, now === "none" ? head.dataset.first : other);
      remember();
    }));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      if (event.target.name === "sort") sort(event.target.value, first(event.target.value));
      else filter();
      remember();
    });
    form.reset();
    filter();
    const below = () => document.documentElement.style.setProperty("--bar", `${form.offsetHeight}px`);
    new ResizeObserver(below).observe(form);
  }
  window.addEventListener("hashchange", recall);
  recall();

  // ---- copies

  async function copy(button) {
    const text = button.nextElementSibling;
    try {
      await navigator.clipboard.writeText(text.value);
    } catch {
      text.hidden = false;
      text.select();
      document.execCommand("copy");
      text.hidden = true;
    }
    const name = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = name; }, 1500);
  }
  document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", () => copy(button)));

  // ---- images, large

  const large = document.getElementById("large");
  document.querySelectorAll("button.zoom").forEach((button) => button.addEventListener("click", () => {
    const [small, shown] = [button.querySelector("img"), large.querySelector("img")];
    shown.src = small.src;
    shown.alt = small.alt;
    const names = button.dataset.classes.split("|").filter(Boolean).map((name) => {
      const item = document.createElement("li");
      item.textContent = name;
      return item;
    });
    large.querySelector("ol").replaceChildren(...names);
    large.showModal();
  }));
  large.querySelector(".close").addEventListener("click", () => large.close());
  large.addEventListener("click", (event) => { if (event.target === large) large.close(); });

  // ---- two rows side by side

  const beside = document.getElementById("beside");
  let chosen = [];

  function show() {
    beside.hidden = chosen.length < 2;
    document.body.classList.toggle("split", !beside.hidden);
    const columns = chosen.map((body) => {
      const column = document.createElement("section");
      const name = document.createElement("h3");
      name.textContent = `${body.dataset.label}, IPC ${body.dataset.ipc}`;
      column.append(name);
      for (const key of ["accuracy", "random", "networks", "published", "sets", "time"]) {
        const cell = body.querySelector(`td.${key}`);
        const line = document.createElement("p");
        line.append(`${cell.dataset.head}: `, ...[...cell.childNodes].map((node) => node.cloneNode(true)));
        column.append(line);
      }
      const picture = body.querySelector(".articles img");
      if (picture) column.append(picture.cloneNode(true));
      return column;
    });
    beside.querySelector("div").replaceChildren(...columns);
  }
  document.querySelectorAll("input.beside").forEach((box) => box.addEventListener("change", () => {
    const body = box.closest("tbody");
    chosen = box.checked ? [...chosen, body].slice(-2) : chosen.filter((own) => own !== body);
    document.querySelectorAll("input.beside").forEach((own) => { own.checked = chosen.includes(own.closest("tbody")); });
    show();
  }));
  beside.querySelector(".close").addEventListener("click", () => {
    chosen = [];
    document.querySelectorAll("input.beside").forEach((own) => { own.checked = false; });
    show();
  });
})();
