// What goes wrong in filters in JavaScript, by the path of the request.

const actions = {
  "/throw": () => null.nothing,
  "/reject": async () => {
    await null;
    throw new RangeError("out of reach");
  },
  "/loop": () => {
    for (;;);
  },
  "/recurse": function recurse(n) {
    return recurse(n) + 1;
  },
  "/exhaust": () => {
    for (const all = []; ; ) all.push(new Uint8Array(1 << 20));
  },
  "/log": (ctx) => {
    const method = String.fromCharCode(...ctx.property("request", "method"));
    console.info("text", { n: 1 }, method);
    const [, value] = [...ctx.request.headers].find(([name]) => name === "x-two");
    if (value !== "2") throw new Error(value);
  },
};

let requests = 0;

export function onRequestHeaders(ctx, end) {
  const headers = ctx.request.headers;
  requests += 1;
  headers.set("x-state", requests);
  if (!end) headers.remove("content-length");
  return actions[headers.get(":path")]?.(ctx);
}

// The end of a body, after an answer that is waited for.
export async function onRequestBody(ctx, end) {
  if (!end) return PAUSE;
  const body = ctx.request.body;
  const answer = await ctx.fetch("web", { method: "POST", path: "/answer", body: body.bytes });
  body.set(`${body.text} and ${answer.body.text}`);
}

export function onLog(ctx) {
  console.log(`ends with ${ctx.response.headers.get(":status")}`);
}
