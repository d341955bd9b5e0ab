"use strict";
// The episodes of a report: a list that is filtered, and each episode shown when it is opened. Texts only ever become
// text nodes, so nothing that an agent or an environment wrote can become markup.
(async () => {
  const PAGE = 100;
  const OUTCOMES = ["failure", "success", "environment error", "left out"];
  const find = (id) => document.getElementById(id);
  const status = find("status"), list = find("episodes"), more = find("more");
  const say = (text) => { status.textContent = text; };

  function make(tag, kind, text) {
    const node = document.createElement(tag);
    if (kind) node.className = kind;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  if (typeof DecompressionStream === "undefined") {
    say("This browser cannot unpack the episodes (it has no DecompressionStream, which all have since 2023). "
      + "Read them in the JSON-lines files beside sweep.json, or some in report.md.");
    return;
  }

  async function unpack(id) {
    const packed = atob(find(id).textContent);
    const bytes = Uint8Array.from(packed, (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  const blocks = new Map();
  function block(number) {
    if (!blocks.has(number)) blocks.set(number, unpack("block-" + number));
    return blocks.get(number);
  }

  const index = await unpack("index");
  const fields = index.fields;
  const episodes = index.rows.map((row) => Object.fromEntries(fields.map((name, place) => [name, row[place]])));
  const content = async (episode) => (await block(episode.block))[episode.place];

  const filters = {
    sweep: index.sweeps, task: index.tasks, model: index.models, outcome: OUTCOMES, reason: index.reasons,
  };
  for (const [name, values] of Object.entries(filters)) {
    const used = new Set(episodes.map((episode) => episode[name]));
    values.forEach((value, place) => {
      if (!used.has(place)) return;
      const option = make("option", "", value);
      option.value = place;
      find(name).append(option);
    });
    find(name).parentElement.hidden = used.size < 2;
    find(name).addEventListener("change", () => refresh());
  }
  let waiting;
  find("text").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, 250); });
  find("reset").addEventListener("click", () => {
    for (const name of Object.keys(filters)) find(name).value = "";
    find("text").value = "";
    refresh();
  });

  let chosen = [], shown = 0, asked = 0;
  more.addEventListener("click", () => show());

  async function refresh() {
    const turn = ++asked;
    const text = find("text").value.trim().toLowerCase();
    let kept = episodes.filter((episode) => Object.keys(filters).every(
      (name) => find(name).value === "" || episode[name] === Number(find(name).value)));
    if (text) {
      const found = [];
      for (const [place, episode] of kept.entries()) {
        if (episode.id.toLowerCase().includes(text) || says(await content(episode), text)) found.push(episode);
        if (turn !== asked) return;
        if (place % 500 === 499) say(`Searching: ${place + 1} of ${kept.length} …`);
      }
      kept = found;
    }
    chosen = kept;
    shown = 0;
    list.replaceChildren();
    show();
    const won = chosen.filter((episode) => episode.outcome === 1).length;
    say(`${chosen.length.toLocaleString("en")} of ${episodes.length.toLocaleString("en")} episodes`
      + `, ${won.toLocaleString("en")} successes among them`);
    document.body.dataset.ready = String(turn);
  }

  function says(episode, text) {
    return [episode.turns, ...episode.earlier].some(
      (turns) => turns.some(([, said]) => said.toLowerCase().includes(text)));
  }

  function show() {
    for (const episode of chosen.slice(shown, shown + PAGE)) list.append(entry(episode));
    shown = Math.min(shown + PAGE, chosen.length);
    more.hidden = shown >= chosen.length;
    more.textContent = `Show more (${(chosen.length - shown).toLocaleString("en")} left)`;
  }

  function entry(episode) {
    const details = make("details", "episode"), summary = make("summary");
    const outcome = OUTCOMES[episode.outcome], reason = index.reasons[episode.reason];
    summary.append(
      make("span", "verdict " + outcome.replace(" ", "-"), outcome),
      make("bdi", "id", episode.id),
      make("bdi", "who", index.models[episode.model]),
      make("span", "how", (reason === outcome ? "" : reason + " · ")
        + `reward ${episode.reward.toFixed(2)} · ${episode.steps} steps`));
    details.append(summary);
    details.addEventListener("toggle", async () => {
      if (!details.open || details.dataset.filled) return;
      details.dataset.filled = "yes";
      details.append(...body(episode, await content(episode)));
    });
    return details;
  }

  function body(episode, told) {
    const why = make("div", "why");
    for (const sentence of told.why) why.append(make("p", "", sentence));
    if (told.seen) why.append(make("p", "soft", "Last observation"), make("pre", "", told.seen));
    const everyone = make("button", "", "This instance, by everyone");
    everyone.type = "button";
    everyone.addEventListener("click", () => {
      for (const name of Object.keys(filters)) find(name).value = "";
      find("text").value = episode.instance;
      refresh();
      find("text").scrollIntoView();
    });
    const facts = make("dl");
    for (const [name, value] of told.facts) facts.append(make("dt", "", name), make("dd", "", value));
    const trials = told.earlier.map((turns, number) => {
      const trial = make("details", "trial");
      trial.append(make("summary", "", `Trial ${number + 1} of ${told.earlier.length + 1}, without success`),
        ...turns.map((turn) => speech(turn)));
      return trial;
    });
    const turns = told.turns.map((turn, place) => speech(turn, place === told.invalid));
    return [why, facts, everyone, ...trials, ...turns];
  }

  function speech([speaker, text], invalid) {
    const turn = make("div", "turn " + speaker), said = make("pre");
    turn.append(make("div", "speaker", speaker + (invalid ? ": no action in this reply, or a refused one" : "")), said);
    if (invalid) turn.classList.add("invalid");
    text.split("\n").forEach((line, number) => {
      if (number) said.append("\n");
      const field = /^(Thought|Action|Final Answer|Observation):/.exec(line);
      if (field) said.append(make("b", "", field[0]), line.slice(field[0].length));
      else said.append(line);
    });
    return turn;
  }

  await refresh();
})();
