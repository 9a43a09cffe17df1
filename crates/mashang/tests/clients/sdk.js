// Sends CloudEvents as the project's own SDK for JavaScript does: binary, structured, and several at once.
const { CloudEvent, HTTP } = require("cloudevents");

const url = `${process.argv[2]}/v1/events`;
const event = (id) =>
  new CloudEvent({
    id,
    source: "/sdk/javascript",
    type: "app.visit",
    time: "2026-11-10T12:00:00.000Z",
    data: { action: "visit", shopper: "js" },
  });
const send = async (headers, body) => {
  const answer = await fetch(url, { method: "POST", headers, body });
  console.log(answer.status, await answer.text());
};
(async () => {
  for (const mode of ["binary", "structured"]) {
    const { headers, body } = HTTP[mode](event(`js ${mode}`));
    await send(headers, body);
  }
  const batch = [event("js 1"), event("js 2")];
  await send({ "content-type": "application/cloudevents-batch+json" }, JSON.stringify(batch));
})();
