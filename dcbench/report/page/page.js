"use strict";

(() => {
  const form = document.querySelector("form.filters");
  if (!form) return;
  const bodies = [...document.querySelectorAll(".board-table > tbody")];
  const heads = [...document.querySelectorAll(".board-table button[data-key]")];
  bodies.forEach((body, place) => { body.first = place; });

  function fits(body) {
    const { dataset, ipc, method } = form.elements;
    const name = body.querySelector("th.method").dataset.value;
    return [dataset, ipc].every((choice) => choice.value === "all" || body.dataset[choice.name] === choice.value)
      && name.includes(method.value.trim().toLowerCase());
  }

  function filter() {
    let shown = 0;
    for (const body of bodies) {
      body.hidden = !fits(body);
      shown += body.hidden ? 0 : 1;
    }
    for (const board of document.querySelectorAll(".board")) {
      board.hidden = !board.querySelector("tbody:not([hidden])");
    }
    document.getElementById("nothing").hidden = shown > 0;
    form.querySelector("output").textContent = `${shown} of ${bodies.length} rows`;
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
    const sign = direction === "descending" ? -1 : 1;
    const order = key ? compare(key, sign) : (a, b) => a.first - b.first;
    for (const table of document.querySelectorAll(".board-table")) {
      table.append(...[...table.tBodies].sort(order));
    }
    for (const head of heads) {
      head.closest("th").setAttribute("aria-sort", head.dataset.key === key ? direction : "none");
    }
    form.elements.sort.value = key;
  }

  function turn(head) {
    const now = head.closest("th").getAttribute("aria-sort");
    const other = now === "ascending" ? "descending" : "ascending";
    sort(head.dataset.key, now === "none" ? head.dataset.first : other);
  }

  heads.forEach((head) => head.addEventListener("click", () => turn(head)));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.name !== "sort") return filter();
    const head = heads.find((each) => each.dataset.key === event.target.value);
    return sort(event.target.value, head ? head.dataset.first : "none");
  });
  form.reset();
  filter();
})();
