// A filter that shows what filters are made of, in JavaScript; README.md tells what it does.

// What is returned here is `ctx.config` of every stream.
export function onConfigure(text) {
  const settings = { greeting: "", find: "", replace: "", cluster: "" };
  for (const line of text.split("\n").filter((line) => line.trim())) {
    const [name, ...value] = line.split("=").map((part) => part.trim());
    if (!Object.hasOwn(settings, name)) throw new Error(`no such setting: ${name}`);
    settings[name] = value.join("=");
  }
  if (!settings.greeting) throw new Error("there is no greeting");
  return settings;
}

export async function onRequestHeaders(ctx) {
  const { greeting, cluster } = ctx.config;
  const headers = ctx.request.headers;
  headers.add("x-greeting", greeting);
  const path = headers.get(":path");
  if (path === "/greeting") return respond(ctx, 200, greeting);
  if (!cluster || !path.startsWith("/private")) return;

  // Nobody but the service says who it is.
  headers.remove("x-user");
  let answer;
  try {
    answer = await ctx.fetch(cluster, { path: "/check", headers: { "x-path": path } });
  } catch {
    return respond(ctx, 503, "no answer\n");
  }
  if (answer.status === 200) {
    const user = answer.headers.get("x-user");
    if (user) headers.add("x-user", user);
  } else if (answer.status >= 500) {
    respond(ctx, 503, "no answer\n");
  } else {
    respond(ctx, 403, answer.body.bytes);
  }
}

export function onResponseHeaders(ctx, end) {
  const headers = ctx.response.headers;
  headers.add("x-greeting", ctx.config.greeting);
  if (ctx.config.find && !end) {
    ctx.rewrites = true;
    headers.remove("content-length");
  }
}

export function onResponseBody(ctx, end) {
  if (!ctx.rewrites) return;
  if (!end) return PAUSE; // held, until all of it is there
  const { find, replace } = ctx.config;
  const text = ctx.response.body.text;
  // What is not text stays as it is.
  if (text.includes(find)) ctx.response.body.set(text.split(find).join(replace));
}

function respond(ctx, status, body) {
  ctx.respond(status, { "content-type": "text/plain", "x-language": "javascript" }, body);
}
