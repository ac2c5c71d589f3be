// What stands between a filter's script and the host: the objects that the script sees, and
// the callbacks that the host calls. `host` has the functions of functions.c.
(host) => {
  const CONTINUE = 0;
  const PAUSE = 1;
  const REQUEST = 0;
  const RESPONSE = 1;

  // Of the buffer with a callout's answer.
  const ANSWER_BODY = 4;
  const ANSWER_HEADERS = 6;

  const levels = { trace: 0, debug: 1, log: 2, info: 2, warn: 3, error: 4 };

  function shown(value) {
    if (typeof value === "string") return value;
    if (value instanceof Error) return `${value}\n${value.stack ?? ""}`.trimEnd();
    try {
      return JSON.stringify(value) ?? String(value);
    } catch {
      return String(value);
    }
  }

  globalThis.PAUSE = PAUSE;
  globalThis.console = {};
  for (const [name, level] of Object.entries(levels)) {
    console[name] = (...values) => host.log(level, values.map(shown).join(" "));
  }

  // The context that hostcalls are for. A promise may let the script of one stream run in a
  // callback of another.
  let current = 0;

  function enter(id) {
    if (current !== id) host.effective(id);
    current = id;
  }

  // Names and values, from an object or from pairs.
  function pairs(headers) {
    const list = Symbol.iterator in headers ? [...headers] : Object.entries(headers);
    return list.map(([name, value]) => [String(name), String(value)]);
  }

  // A header map of a stream.
  class Headers {
    #id;
    #map;

    constructor(id, map) {
      this.#id = id;
      this.#map = map;
    }

    get(name) {
      enter(this.#id);
      return host.get(this.#map, name);
    }

    add(name, value) {
      enter(this.#id);
      host.add(this.#map, name, value);
    }

    set(name, value) {
      enter(this.#id);
      host.set(this.#map, name, value);
    }

    remove(name) {
      enter(this.#id);
      host.remove(this.#map, name);
    }

    [Symbol.iterator]() {
      enter(this.#id);
      return host.pairs(this.#map)[Symbol.iterator]();
    }
  }

  // What a message holds of its body when it is asked.
  class Body {
    #id;
    #buffer;

    constructor(id, buffer) {
      this.#id = id;
      this.#buffer = buffer;
    }

    get bytes() {
      enter(this.#id);
      return host.read(this.#buffer);
    }

    get text() {
      return host.decode(this.bytes);
    }

    set(body) {
      enter(this.#id);
      host.write(this.#buffer, body);
    }
  }

  class Message {
    constructor(id, direction) {
      this.headers = new Headers(id, 2 * direction);
      this.trailers = new Headers(id, 2 * direction + 1);
      this.body = new Body(id, direction);
    }
  }

  // The answer to a callout, which is kept.
  class Answer {
    constructor() {
      const list = host.pairs(ANSWER_HEADERS);
      const bytes = host.read(ANSWER_BODY);
      this.headers = {
        get: (name) => list.find(([known]) => known === name.toLowerCase())?.[1],
        [Symbol.iterator]: () => list[Symbol.iterator](),
      };
      this.status = Number(this.headers.get(":status"));
      this.body = { bytes, get text() { return host.decode(bytes); } };
    }
  }

  // Callouts that wait for an answer, by their numbers.
  const calls = new Map();

  // A stream, as the script sees it.
  class Context {
    #id;
    // How often the script has answered. Its answer passes the callbacks of responses.
    #answers = 0;
    #gone = false;

    constructor(id, config) {
      this.#id = id;
      this.config = config;
      this.request = new Message(id, REQUEST);
      this.response = new Message(id, RESPONSE);
    }

    respond(status, headers = {}, body = "") {
      enter(this.#id);
      host.respond(status, pairs(headers), body);
      this.#answers += 1;
    }

    fetch(cluster, { method = "GET", path = "/", authority = cluster, headers = {}, body = "", timeout = 5000 } = {}) {
      return new Promise((resolve, reject) => {
        enter(this.#id);
        const all = [[":method", method], [":path", path], [":authority", authority], ...pairs(headers)];
        const call = host.call(cluster, all, body, timeout);
        calls.set(call, { id: this.#id, cluster, resolve, reject });
      });
    }

    property(...path) {
      enter(this.#id);
      return host.property(path.join("\0"));
    }

    // Calls what the script has for a callback. While a promise is not settled, the stream
    // is paused; what is answered meanwhile takes the place of what was to go on.
    static run(id, hook, direction, end) {
      current = id;
      const context = contexts.get(id);
      if (!hook || !context) return CONTINUE;
      const before = context.#answers;
      let action;
      let later = false;
      const settle = (result) => {
        action = result === PAUSE ? PAUSE : CONTINUE;
        if (context.#answers !== before) action = PAUSE;
        if (later && action === CONTINUE) context.#resume(direction);
      };
      const fail = (error) => {
        console.error(error);
        // An exception costs its own stream alone, and an answer goes out all the same.
        if (context.#answers === 0 && !context.#gone) context.respond(500);
        settle();
      };
      try {
        const result = hook(context, end);
        if (typeof result?.then === "function") {
          result.then(settle).catch(fail);
          host.jobs();
        } else {
          settle(result);
        }
      } catch (error) {
        fail(error);
      }
      later = true;
      return action ?? PAUSE;
    }

    #resume(direction) {
      if (this.#gone) return;
      enter(this.#id);
      host.resume(direction);
    }

    static end(id) {
      const context = contexts.get(id);
      if (context) context.#gone = true;
      contexts.delete(id);
      configs.delete(id);
      for (const [call, { id: asking }] of calls) if (asking === id) calls.delete(call);
    }
  }

  // Streams, and what filters were configured with, by the numbers of their contexts.
  const contexts = new Map();
  const configs = new Map();

  return (hooks) => ({
    configure(root) {
      current = root;
      const text = host.decode(host.read(7));
      try {
        configs.set(root, hooks.onConfigure ? hooks.onConfigure(text) : text);
        return 1;
      } catch (error) {
        console.error(error);
        return 0;
      }
    },

    create(id, parent) {
      if (parent !== 0) contexts.set(id, new Context(id, configs.get(parent)));
    },

    requestHeaders: (id, end) => Context.run(id, hooks.onRequestHeaders, REQUEST, end !== 0),
    requestBody: (id, end) => Context.run(id, hooks.onRequestBody, REQUEST, end !== 0),
    requestTrailers: (id) => Context.run(id, hooks.onRequestTrailers, REQUEST),
    responseHeaders: (id, end) => Context.run(id, hooks.onResponseHeaders, RESPONSE, end !== 0),
    responseBody: (id, end) => Context.run(id, hooks.onResponseBody, RESPONSE, end !== 0),
    responseTrailers: (id) => Context.run(id, hooks.onResponseTrailers, RESPONSE),

    answer(root, call, headers) {
      current = root;
      const waiting = calls.get(call);
      if (!waiting) return;
      calls.delete(call);
      if (headers === 0) {
        waiting.reject(new Error(`${waiting.cluster} does not answer`));
      } else {
        waiting.resolve(new Answer());
      }
      enter(waiting.id);
    },

    log(id) {
      current = id;
      try {
        const context = contexts.get(id);
        if (context) hooks.onLog?.(context);
      } catch (error) {
        console.error(error);
      }
    },

    delete(id) {
      Context.end(id);
    },
  });
}
