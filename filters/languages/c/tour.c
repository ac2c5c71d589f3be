// A filter that shows what filters are made of, in C; README.md tells what it does.

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_wasm.h"

PROXY_ABI_VERSION
PROXY_ALLOCATOR

// Bytes that need no NUL behind them.
typedef struct {
  const char *data;
  size_t length;
} text;

#define TEXT(literal) ((text){literal, sizeof(literal) - 1})
#define SPREAD(text) (text).data, (text).length

static bool is(text a, text b) {
  return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

static bool begins(text a, text b) {
  return a.length >= b.length && memcmp(a.data, b.data, b.length) == 0;
}

static void complain(const char *message, text about) {
  char line[256];
  int length = snprintf(line, sizeof(line), "tour: %s%.*s", message, (int)about.length, about.data);
  size_t shown = (size_t)length < sizeof(line) ? (size_t)length : sizeof(line) - 1;
  proxy_log(PROXY_LOG_ERROR, line, shown);
}

// A filter of the configuration. Several may share a VM, so that there is no one
// configuration. Its settings lie in what the host has handed over, which is kept.
typedef struct plugin {
  struct plugin *next;
  uint32_t id;
  char *configuration;
  text greeting, find, replace, cluster;
} plugin;

static plugin *plugins;

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static text trimmed(text line) {
  while (line.length > 0 && is_blank(*line.data)) line.data++, line.length--;
  while (line.length > 0 && is_blank(line.data[line.length - 1])) line.length--;
  return line;
}

static bool set(plugin *plugin, text line) {
  line = trimmed(line);
  if (line.length == 0) return true;
  const char *equals = memchr(line.data, '=', line.length);
  size_t at = equals ? (size_t)(equals - line.data) : line.length;
  text name = trimmed((text){line.data, at});
  text value = trimmed((text){line.data + at + (equals != NULL), line.length - at - (equals != NULL)});
  if (is(name, TEXT("greeting"))) plugin->greeting = value;
  else if (is(name, TEXT("find"))) plugin->find = value;
  else if (is(name, TEXT("replace"))) plugin->replace = value;
  else if (is(name, TEXT("cluster"))) plugin->cluster = value;
  else return complain("no such setting: ", name), false;
  return true;
}

static bool configure(plugin *plugin, size_t size) {
  size_t length = 0;
  proxy_get_buffer_bytes(PROXY_PLUGIN_CONFIGURATION, 0, size, &plugin->configuration, &length);
  for (const char *at = plugin->configuration, *end; length > 0; at = end) {
    const char *newline = memchr(at, '\n', length);
    end = newline ? newline + 1 : at + length;
    if (!set(plugin, (text){at, (size_t)((newline ? newline : end) - at)})) return false;
    length -= (size_t)(end - at);
  }
  if (plugin->greeting.length == 0) return complain("there is no greeting", TEXT("")), false;
  return true;
}

PROXY_EXPORT(proxy_on_configure)
uint32_t on_configure(uint32_t root, size_t size) {
  plugin *new = malloc(sizeof(plugin));
  if (!new) abort();
  *new = (plugin){.next = plugins, .id = root};
  plugins = new;
  return configure(new, size);
}

// What there is to know of a stream between callbacks; few are open at once.
typedef struct stream {
  struct stream *next;
  uint32_t id, call;
  bool asks, rewrites;
  const plugin *plugin;
} stream;

static stream *streams;

PROXY_EXPORT(proxy_on_context_create)
void on_context_create(uint32_t context, uint32_t parent) {
  if (parent == 0) return;
  const plugin *of = plugins;
  while (of && of->id != parent) of = of->next;
  stream *new = malloc(sizeof(stream));
  if (!of || !new) abort();
  *new = (stream){.next = streams, .id = context, .plugin = of};
  streams = new;
}

static stream **place(uint32_t id) {
  stream **at = &streams;
  while (*at && (*at)->id != id) at = &(*at)->next;
  return at;
}

static stream *of_id(uint32_t id) {
  stream *stream = *place(id);
  if (!stream) abort();
  return stream;
}

PROXY_EXPORT(proxy_on_delete)
void on_delete(uint32_t context) {
  stream **at = place(context), *gone = *at;
  if (gone) *at = gone->next;
  free(gone);
  for (plugin **of = &plugins; *of; of = &(*of)->next)
    if ((*of)->id == context) {
      plugin *ended = *of;
      *of = ended->next;
      free(ended->configuration), free(ended);
      return;
    }
}

// Pairs as the host takes them, to be freed.
static text encoded(const proxy_pair *pairs, size_t count) {
  size_t size = proxy_pairs_size(pairs, count);
  char *bytes = malloc(size);
  if (!bytes) abort();
  proxy_pairs_write(pairs, count, bytes);
  return (text){bytes, size};
}

static void respond(uint32_t status, text body) {
  proxy_pair pairs[] = {PROXY_PAIR("content-type", "text/plain"), PROXY_PAIR("x-language", "c")};
  text headers = encoded(pairs, 2);
  proxy_send_local_response(status, NULL, 0, SPREAD(body), SPREAD(headers), -1);
  free((void *)headers.data);
}

static proxy_action ask(stream *stream, text path) {
  text cluster = stream->plugin->cluster;
  proxy_pair pairs[] = {
      PROXY_PAIR(":method", "GET"),
      PROXY_PAIR(":path", "/check"),
      {":authority", 10, SPREAD(cluster)},
      {"x-path", 6, SPREAD(path)},
  };
  text headers = encoded(pairs, 4);
  proxy_status called = proxy_http_call(SPREAD(cluster), SPREAD(headers), NULL, 0, NULL, 0, 5000,
                                        &stream->call);
  free((void *)headers.data);
  stream->asks = called == PROXY_OK;
  if (!stream->asks) respond(503, TEXT("no answer\n"));
  return PROXY_PAUSE;
}

PROXY_EXPORT(proxy_on_request_headers)
proxy_action on_request_headers(uint32_t id, uint32_t count, uint32_t end) {
  (void)count, (void)end;
  stream *stream = of_id(id);
  const plugin *plugin = stream->plugin;
  proxy_add_header_map_value(PROXY_REQUEST_HEADERS, SPREAD(TEXT("x-greeting")),
                             SPREAD(plugin->greeting));
  char *bytes = NULL;
  size_t length = 0;
  proxy_get_header_map_value(PROXY_REQUEST_HEADERS, SPREAD(TEXT(":path")), &bytes, &length);
  text path = {bytes, length};
  proxy_action action = PROXY_CONTINUE;
  if (is(path, TEXT("/greeting"))) {
    respond(200, plugin->greeting);
    action = PROXY_PAUSE;
  } else if (plugin->cluster.length > 0 && begins(path, TEXT("/private"))) {
    // Nobody but the service says who it is.
    proxy_remove_header_map_value(PROXY_REQUEST_HEADERS, SPREAD(TEXT("x-user")));
    action = ask(stream, path);
  }
  free(bytes);
  return action;
}

PROXY_EXPORT(proxy_on_http_call_response)
void on_http_call_response(uint32_t root, uint32_t call, uint32_t headers, size_t body_size,
                           uint32_t trailers) {
  (void)root, (void)trailers;
  stream *asked = streams;
  while (asked && !(asked->asks && asked->call == call)) asked = asked->next;
  if (!asked) return; // it has ended meanwhile
  char *status = NULL, *user = NULL, *body = NULL;
  size_t status_length = 0, user_length = 0, body_length = 0;
  if (headers > 0) {
    proxy_get_header_map_value(PROXY_CALL_RESPONSE_HEADERS, SPREAD(TEXT(":status")), &status,
                               &status_length);
    proxy_get_header_map_value(PROXY_CALL_RESPONSE_HEADERS, SPREAD(TEXT("x-user")), &user,
                               &user_length);
    proxy_get_buffer_bytes(PROXY_CALL_RESPONSE_BODY, 0, body_size, &body, &body_length);
  }
  proxy_set_effective_context(asked->id);
  if (is((text){status, status_length}, TEXT("200"))) {
    if (user_length > 0)
      proxy_add_header_map_value(PROXY_REQUEST_HEADERS, SPREAD(TEXT("x-user")), user, user_length);
    proxy_continue_stream(PROXY_REQUEST);
  } else if (status_length == 0 || *status == '5') {
    respond(503, TEXT("no answer\n"));
  } else {
    respond(403, (text){body, body_length});
  }
  free(status), free(user), free(body);
}

PROXY_EXPORT(proxy_on_response_headers)
proxy_action on_response_headers(uint32_t id, uint32_t count, uint32_t end) {
  (void)count;
  stream *stream = of_id(id);
  const plugin *plugin = stream->plugin;
  proxy_add_header_map_value(PROXY_RESPONSE_HEADERS, SPREAD(TEXT("x-greeting")),
                             SPREAD(plugin->greeting));
  if (plugin->find.length > 0 && !end) {
    stream->rewrites = true;
    proxy_remove_header_map_value(PROXY_RESPONSE_HEADERS, SPREAD(TEXT("content-length")));
  }
  return PROXY_CONTINUE;
}

// Where `find` is in `body`; its end if it is nowhere.
static size_t position(text body, text find) {
  for (size_t at = 0; at + find.length <= body.length; at++)
    if (memcmp(body.data + at, find.data, find.length) == 0) return at;
  return body.length;
}

static text replaced(text body, text find, text replace) {
  size_t times = 0;
  for (text rest = body; ; times++) {
    size_t at = position(rest, find);
    if (at == rest.length) break;
    rest = (text){rest.data + at + find.length, rest.length - at - find.length};
  }
  char *bytes = malloc(body.length - times * find.length + times * replace.length + 1), *end = bytes;
  if (!bytes) abort();
  for (text rest = body; ; ) {
    size_t at = position(rest, find);
    end = (char *)memcpy(end, rest.data, at) + at;
    if (at == rest.length) return (text){bytes, (size_t)(end - bytes)};
    end = (char *)memcpy(end, replace.data, replace.length) + replace.length;
    rest = (text){rest.data + at + find.length, rest.length - at - find.length};
  }
}

PROXY_EXPORT(proxy_on_response_body)
proxy_action on_response_body(uint32_t id, size_t size, uint32_t end) {
  const stream *stream = of_id(id);
  if (!stream->rewrites) return PROXY_CONTINUE;
  if (!end) return PROXY_PAUSE; // held, until all of it is there
  char *bytes = NULL;
  size_t length = 0;
  proxy_get_buffer_bytes(PROXY_RESPONSE_BODY, 0, size, &bytes, &length);
  text body = replaced((text){bytes, length}, stream->plugin->find, stream->plugin->replace);
  proxy_set_buffer_bytes(PROXY_RESPONSE_BODY, 0, size, SPREAD(body));
  free((void *)body.data), free(bytes);
  return PROXY_CONTINUE;
}
