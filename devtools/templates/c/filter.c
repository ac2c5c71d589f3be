// Sets the header x-{{name}} in requests and responses to its configuration, and
// answers requests for /greeting with it. What the host offers is declared in
// proxy_wasm.h.

#include <stdlib.h>
#include <string.h>

#include "proxy_wasm.h"

PROXY_ABI_VERSION
PROXY_ALLOCATOR

#define LITERAL(text) text, sizeof(text) - 1

// A root context, or a stream: several filters of one module may share a VM, and each
// has a root context and a greeting of its own.
typedef struct context {
  struct context *next;
  uint32_t id;
  char *greeting;
  size_t length;
} context;

static context *contexts;

static context *find(uint32_t id) {
  context *at = contexts;
  while (at && at->id != id) at = at->next;
  return at;
}

PROXY_EXPORT(proxy_on_context_create)
void on_context_create(uint32_t id, uint32_t parent) {
  context *made = malloc(sizeof(context));
  if (!made) abort();
  const context *root = find(parent);
  *made = root ? *root : (context){0};
  made->next = contexts;
  made->id = id;
  contexts = made;
}

PROXY_EXPORT(proxy_on_delete)
void on_delete(uint32_t id) {
  context **at = &contexts;
  while (*at && (*at)->id != id) at = &(*at)->next;
  context *gone = *at;
  if (gone) *at = gone->next;
  free(gone);
}

PROXY_EXPORT(proxy_on_configure)
uint32_t on_configure(uint32_t id, size_t size) {
  context *root = find(id);
  proxy_get_buffer_bytes(PROXY_PLUGIN_CONFIGURATION, 0, size, &root->greeting, &root->length);
  if (root->length == 0)
    proxy_log(PROXY_LOG_ERROR, LITERAL("{{name}}: the configuration has to be a greeting"));
  return root->length > 0;
}

PROXY_EXPORT(proxy_on_request_headers)
proxy_action on_request_headers(uint32_t id, uint32_t count, uint32_t end) {
  const context *stream = find(id);
  char *path = NULL;
  size_t length = 0;
  proxy_get_header_map_value(PROXY_REQUEST_HEADERS, LITERAL(":path"), &path, &length);
  int asks = length == strlen("/greeting") && memcmp(path, LITERAL("/greeting")) == 0;
  free(path);
  if (asks) {
    proxy_send_local_response(200, NULL, 0, stream->greeting, stream->length, NULL, 0, -1);
    return PROXY_PAUSE;
  }
  proxy_replace_header_map_value(PROXY_REQUEST_HEADERS, LITERAL("x-{{name}}"), stream->greeting,
                                 stream->length);
  return PROXY_CONTINUE;
}

PROXY_EXPORT(proxy_on_response_headers)
proxy_action on_response_headers(uint32_t id, uint32_t count, uint32_t end) {
  const context *stream = find(id);
  proxy_replace_header_map_value(PROXY_RESPONSE_HEADERS, LITERAL("x-{{name}}"), stream->greeting,
                                 stream->length);
  return PROXY_CONTINUE;
}
