// Lists that can be searched and sorted. Without scripts they stand there whole.
for (const list of document.querySelectorAll("[data-list]")) {
  const tools = list.querySelector(".tools");
  const box = list.querySelector(".examples");
  const cards = [...box.children];
  const search = tools.querySelector("input");
  const order = tools.querySelector("select");
  const shown = tools.querySelector("output");
  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const said = (card) => card.querySelector(order.value).textContent;
    const before = (a, b) => said(a).localeCompare(said(b), undefined, { numeric: true });
    const sorted = order.value ? [...cards].sort(before) : cards;
    for (const card of sorted) {
      const text = card.textContent.toLowerCase();
      card.hidden = !words.every((word) => text.includes(word));
    }
    box.append(...sorted);
    shown.textContent = `${cards.filter((card) => !card.hidden).length} of ${cards.length}`;
  };
  search.addEventListener("input", update);
  order.addEventListener("change", update);
  tools.hidden = false;
  update();
}
