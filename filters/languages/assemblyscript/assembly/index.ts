// A filter that shows what filters are made of, in AssemblyScript; README.md tells what it
// does.

export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import { ensureContext } from "@gcoredev/proxy-wasm-sdk-as/assembly/runtime";
import {
  BaseContext,
  BufferTypeValues,
  Context,
  continue_request,
  FilterDataStatusValues,
  FilterHeadersStatusValues,
  get_buffer_bytes,
  log,
  LogLevelValues,
  makeHeaderPair,
  registerRootContext,
  RootContext,
  send_http_response,
  set_buffer_bytes,
  stream_context,
  WasmResultValues,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

class Root extends RootContext {
  greeting: string = "";
  find: string = "";
  replace: string = "";
  cluster: string = "";

  onConfigure(size: u32): bool {
    if (!super.onConfigure(size)) return false;
    const complaint = this.read(this.getConfiguration());
    if (complaint.length > 0) {
      log(LogLevelValues.error, "tour: " + complaint);
      return false;
    }
    // This SDK does not find the root context when it ends, and aborts: so there is one
    // under its number.
    ensureContext(this.context_id, this.context_id);
    return true;
  }

  private read(text: string): string {
    const lines = text.split("\n");
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i].trim();
      if (line.length == 0) continue;
      const equals = line.indexOf("=");
      const name = equals < 0 ? line : line.substring(0, equals).trim();
      const value = equals < 0 ? "" : line.substring(equals + 1).trim();
      if (name == "greeting") this.greeting = value;
      else if (name == "find") this.find = value;
      else if (name == "replace") this.replace = value;
      else if (name == "cluster") this.cluster = value;
      else return "no such setting: " + name;
    }
    return this.greeting.length == 0 ? "there is no greeting" : "";
  }

  createContext(contextId: u32): Context {
    return new Stream(contextId, this);
  }
}

class Stream extends Context {
  private root: Root;
  private rewrites: bool = false;
  private gone: bool = false;

  constructor(contextId: u32, root: Root) {
    super(contextId, root);
    this.root = root;
  }

  onRequestHeaders(count: u32, endOfStream: bool): FilterHeadersStatusValues {
    const headers = stream_context.headers.request;
    headers.add("x-greeting", this.root.greeting);
    const path = headers.get(":path");
    if (path == "/greeting") {
      respond(200, String.UTF8.encode(this.root.greeting));
      return FilterHeadersStatusValues.StopIteration;
    }
    if (this.root.cluster.length > 0 && path.startsWith("/private")) {
      // Nobody but the service says who it is.
      headers.remove("x-user");
      this.ask(path);
      return FilterHeadersStatusValues.StopIteration;
    }
    return FilterHeadersStatusValues.Continue;
  }

  private ask(path: string): void {
    const cluster = this.root.cluster;
    const headers = [
      makeHeaderPair(":method", "GET"),
      makeHeaderPair(":path", "/check"),
      makeHeaderPair(":authority", cluster),
      makeHeaderPair("x-path", path),
    ];
    const called = this.root.httpCall(cluster, headers, new ArrayBuffer(0), [], 5000, this, answered);
    if (called != WasmResultValues.Ok) respond(503, String.UTF8.encode("no answer\n"));
  }

  onAnswer(count: u32, size: u32): void {
    if (this.gone) return;
    const headers = stream_context.headers.http_callback;
    const status = count > 0 ? headers.get(":status") : ""; // 0: there was no answer
    if (status == "200") {
      const user = headers.get("x-user");
      if (user.length > 0) stream_context.headers.request.add("x-user", user);
      continue_request();
    } else if (status.length == 0 || status.startsWith("5")) {
      respond(503, String.UTF8.encode("no answer\n"));
    } else {
      respond(403, bytes(BufferTypeValues.HttpCallResponseBody, size));
    }
  }

  onResponseHeaders(count: u32, endOfStream: bool): FilterHeadersStatusValues {
    const headers = stream_context.headers.response;
    headers.add("x-greeting", this.root.greeting);
    if (this.root.find.length > 0 && !endOfStream) {
      this.rewrites = true;
      headers.remove("content-length");
    }
    return FilterHeadersStatusValues.Continue;
  }

  onResponseBody(size: usize, endOfStream: bool): FilterDataStatusValues {
    if (!this.rewrites) return FilterDataStatusValues.Continue;
    // Held, until all of it is there.
    if (!endOfStream) return FilterDataStatusValues.StopIterationAndBuffer;
    const body = String.UTF8.decode(bytes(BufferTypeValues.HttpResponseBody, size as u32));
    // What is not text stays as it is.
    if (body.includes(this.root.find)) {
      const replaced = String.UTF8.encode(body.replaceAll(this.root.find, this.root.replace));
      set_buffer_bytes(BufferTypeValues.HttpResponseBody, 0, size as u32, replaced);
    }
    return FilterDataStatusValues.Continue;
  }

  onDelete(): void {
    this.gone = true;
    super.onDelete();
  }
}

// There are no closures: the SDK hands back the context that has asked.
function answered(origin: BaseContext, headers: u32, size: usize, trailers: u32): void {
  (origin as Stream).onAnswer(headers, size as u32);
}

function bytes(buffer: BufferTypeValues, size: u32): ArrayBuffer {
  return size > 0 ? get_buffer_bytes(buffer, 0, size) : new ArrayBuffer(0);
}

function respond(status: u32, body: ArrayBuffer): void {
  const headers = [makeHeaderPair("content-type", "text/plain"), makeHeaderPair("x-language", "assemblyscript")];
  send_http_response(status, "", body, headers);
}

registerRootContext((contextId: u32) => new Root(contextId), "tour");
