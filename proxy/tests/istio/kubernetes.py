"""An API server of Kubernetes in which there is nothing: istiod does not start without one.

    kubernetes.py KUBECONFIG

Listens at a port of its own and writes a kubeconfig for it.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

# Kinds whose names are not those of their resources with a capital and without an s.
KINDS = {
    "configmaps": "ConfigMap",
    "customresourcedefinitions": "CustomResourceDefinition",
    "endpointslices": "EndpointSlice",
    "ingressclasses": "IngressClass",
    "ingresses": "Ingress",
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "serviceaccounts": "ServiceAccount",
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
}

WATCH_SECONDS = 3600


class Empty(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code, reason):
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
        self.answer(code, status | {"status": "Failure", "reason": reason, "code": code})

    def do_GET(self):
        url = urlparse(self.path)
        query = parse_qs(url.query)
        words = url.path.strip("/").split("/")
        if url.path == "/version":
            return self.answer(200, {"major": "1", "minor": "36", "gitVersion": "v1.36.0"})
        if url.path == "/api":
            return self.answer(200, {"kind": "APIVersions", "versions": ["v1"]})
        if url.path == "/apis":
            return self.answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": []})
        if "sendInitialEvents" in query:
            # Clients go back to lists.
            return self.refuse(422, "Invalid")
        if "watch" in query:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            return time.sleep(WATCH_SECONDS)
        core = words[0] == "api"
        version, rest = ("v1", words[2:]) if core else ("/".join(words[1:3]), words[3:])
        if len(rest) > 2 and rest[0] == "namespaces":
            rest = rest[2:]
        if len(rest) != 1:
            return self.refuse(404, "NotFound")
        kind = KINDS.get(rest[0], rest[0].capitalize().removesuffix("s"))
        meta = {"metadata": {"resourceVersion": "1"}, "items": []}
        self.answer(200, {"kind": f"{kind}List", "apiVersion": version} | meta)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.refuse(403, "Forbidden")

    do_PUT = do_PATCH = do_DELETE = do_POST


server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
server.daemon_threads = True
config = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "users": [{"name": "u", "user": {}}],
    "current-context": "c",
}
with open(sys.argv[1], "w") as file:
    json.dump(config, file)
server.serve_forever()
