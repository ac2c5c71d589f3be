// Sets the header x-{{name}} in requests and responses to its configuration, and
// answers requests for /greeting with it.

export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import { ensureContext } from "@gcoredev/proxy-wasm-sdk-as/assembly/runtime";
import {
  Context,
  FilterHeadersStatusValues,
  GrpcStatusValues,
  log,
  LogLevelValues,
  registerRootContext,
  RootContext,
  send_local_response,
  stream_context,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

// The root context reads the configuration.
class Root extends RootContext {
  onConfigure(size: u32): bool {
    if (!super.onConfigure(size) || this.getConfiguration().length == 0) {
      log(LogLevelValues.error, "{{name}}: the configuration has to be a greeting");
      return false;
    }
    // This SDK does not find the root context when it ends, and aborts: so there is one
    // under its number.
    ensureContext(this.context_id, this.context_id);
    return true;
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
    const greeting = this.root_context.getConfiguration();
    if (stream_context.headers.request.get(":path") == "/greeting") {
      const body = String.UTF8.encode(greeting);
      send_local_response(200, "", body, [], GrpcStatusValues.Ok);
      return FilterHeadersStatusValues.StopIteration;
    }
    stream_context.headers.request.replace("x-{{name}}", greeting);
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, endOfStream: bool): FilterHeadersStatusValues {
    const greeting = this.root_context.getConfiguration();
    stream_context.headers.response.replace("x-{{name}}", greeting);
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((contextId: u32) => new Root(contextId), "");
