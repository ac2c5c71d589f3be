// A filter written in AssemblyScript. It does what its sibling in Go does: see the
// README beside their folders.

export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import {
  Context,
  FilterHeadersStatusValues,
  log,
  LogLevelValues,
  registerRootContext,
  RootContext,
  stream_context,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

class Root extends RootContext {
  onConfigure(size: u32): bool {
    const ok = super.onConfigure(size);
    log(LogLevelValues.info, "guest configured: " + this.getConfiguration());
    return ok;
  }

  createContext(contextId: u32): Context {
    return new Stream(contextId, this);
  }
}

class Stream extends Context {
  constructor(contextId: u32, root: Root) {
    super(contextId, root);
  }

  onRequestHeaders(count: u32, endOfStream: bool): FilterHeadersStatusValues {
    log(LogLevelValues.info, "guest saw a request");
    const configuration = this.root_context.getConfiguration();
    stream_context.headers.request.add("x-guest-request", configuration);
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, endOfStream: bool): FilterHeadersStatusValues {
    stream_context.headers.response.add("x-guest-response", "assemblyscript");
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((contextId: u32) => new Root(contextId), "guest");
