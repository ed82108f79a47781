const get = id => document.getElementById(id), rows = [...get("clauses").tBodies[0].rows];
function show() {
  const words = get("words").value.toLowerCase().split(/\s+/), level = get("level").value, verdict = get("verdict").value;
  let shown = 0;
  for (const row of rows) {
    const v = row.dataset.v, text = row.textContent.toLowerCase();
    const fits = words.every(word => text.includes(word)) && (!level || row.dataset.l === level) &&
      (!verdict || (verdict === "differ" ? new Set(v).size > 1 : v[verdict[0]] === verdict[1]));
    row.hidden = !fits;
    shown += fits;
  }
  get("shown").value = shown + " of " + rows.length;
}
for (const id of ["words", "level", "verdict"]) get(id).addEventListener("input", show);
for (const link of document.querySelectorAll("[data-chapter]"))
  link.addEventListener("click", event => {
    event.preventDefault();
    get("words").value = link.dataset.chapter + ".";
    show();
    get("clauses").scrollIntoView({ behavior: "smooth" });
  });
document.querySelector("form").addEventListener("submit", event => event.preventDefault());
show();
