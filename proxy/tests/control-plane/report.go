package main

import (
	"context"
	"encoding/json"
	"io"
	"sync"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	status "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// How many names a line has at most; how many there are, it always says.
const maxNames = 100

// Writes what happens, a JSON object a line.
type reporter struct {
	mutex   sync.Mutex
	output  io.Writer
	streams map[streamKey]*stream
	// The number of the last stream, over all servers and variants.
	last int
}

// go-control-plane numbers the streams of each variant of each server by themselves.
type streamKey struct {
	callbacks *server.CallbackFuncs
	delta     bool
	id        int64
}

type stream struct {
	number int
	node   string
	// What waits for an answer, by nonce.
	pending map[string]pending
}

type pending struct {
	version string
	names   []string
}

func newReporter(output io.Writer) *reporter {
	return &reporter{output: output, streams: map[streamKey]*stream{}}
}

// Writes a line. Nobody is left to be told of it if that fails: who started this
// program is gone then, and so is its standard input.
func (r *reporter) line(fields map[string]any) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.write(fields)
}

func (r *reporter) write(fields map[string]any) {
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err) // they are strings and numbers
	}
	r.output.Write(append(text, '\n'))
}

// What a server has to call.
func (r *reporter) callbacks() *server.CallbackFuncs {
	result := &server.CallbackFuncs{}
	key := func(delta bool, id int64) streamKey { return streamKey{result, delta, id} }
	*result = server.CallbackFuncs{
		StreamOpenFunc: func(_ context.Context, id int64, _ string) error {
			r.opened(key(false, id))
			return nil
		},
		DeltaStreamOpenFunc: func(_ context.Context, id int64, _ string) error {
			r.opened(key(true, id))
			return nil
		},
		StreamClosedFunc:      func(id int64, _ *core.Node) { r.closed(key(false, id)) },
		DeltaStreamClosedFunc: func(id int64, _ *core.Node) { r.closed(key(true, id)) },
		StreamRequestFunc: func(id int64, request *discovery.DiscoveryRequest) error {
			fields := map[string]any{"version": request.GetVersionInfo()}
			names(fields, "names", request.GetResourceNames())
			r.requested(key(false, id), request, fields)
			return nil
		},
		StreamDeltaRequestFunc: func(id int64, request *discovery.DeltaDiscoveryRequest) error {
			fields := map[string]any{"initial_versions": len(request.GetInitialResourceVersions())}
			names(fields, "subscribe", request.GetResourceNamesSubscribe())
			names(fields, "unsubscribe", request.GetResourceNamesUnsubscribe())
			r.requested(key(true, id), request, fields)
			return nil
		},
		StreamResponseFunc: func(_ context.Context, id int64, _ *discovery.DiscoveryRequest, response *discovery.DiscoveryResponse) {
			list := make([]string, 0, len(response.GetResources()))
			for _, packed := range response.GetResources() {
				list = append(list, nameOf(packed))
			}
			r.responded(key(false, id), response, response.GetVersionInfo(), list, nil)
		},
		StreamDeltaResponseFunc: func(id int64, _ *discovery.DeltaDiscoveryRequest, response *discovery.DeltaDiscoveryResponse) {
			list := make([]string, 0, len(response.GetResources()))
			for _, resource := range response.GetResources() {
				list = append(list, resource.GetName())
			}
			r.responded(key(true, id), response, response.GetSystemVersionInfo(), list, response.GetRemovedResources())
		},
	}
	return result
}

func (r *reporter) opened(key streamKey) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.last++
	r.streams[key] = &stream{number: r.last, pending: map[string]pending{}}
	variant := "sotw"
	if key.delta {
		variant = "delta"
	}
	r.write(map[string]any{"event": "opened", "stream": r.last, "variant": variant})
}

func (r *reporter) closed(key streamKey) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	stream := r.streams[key]
	delete(r.streams, key)
	r.write(map[string]any{"event": "closed", "stream": stream.number, "node": stream.node})
}

// What requests of both variants have.
type request interface {
	GetNode() *core.Node
	GetTypeUrl() string
	GetResponseNonce() string
	GetErrorDetail() *status.Status
}

// Reports an answer to a response as ack or nack, and all else as request.
func (r *reporter) requested(key streamKey, request request, fields map[string]any) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	stream := r.streams[key]
	if node := request.GetNode().GetId(); node != "" {
		stream.node = node
	}
	nonce := request.GetResponseNonce()
	answered, isAnswer := stream.pending[nonce]
	delete(stream.pending, nonce)
	fields["event"] = "request"
	fields["stream"] = stream.number
	fields["node"] = stream.node
	fields["type_url"] = request.GetTypeUrl()
	if isAnswer {
		fields["event"] = "ack"
		fields["nonce"] = nonce
		fields["version"] = answered.version
		names(fields, "resources", answered.names)
	}
	if detail := request.GetErrorDetail(); detail != nil {
		fields["event"] = "nack"
		fields["nonce"] = nonce
		fields["code"] = detail.GetCode()
		fields["message"] = detail.GetMessage()
	}
	r.write(fields)
}

// What responses of both variants have.
type response interface {
	GetTypeUrl() string
	GetNonce() string
}

func (r *reporter) responded(key streamKey, response response, version string, list, removed []string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	stream := r.streams[key]
	stream.pending[response.GetNonce()] = pending{version, list}
	fields := map[string]any{
		"event":    "response",
		"stream":   stream.number,
		"node":     stream.node,
		"type_url": response.GetTypeUrl(),
		"version":  version,
		"nonce":    response.GetNonce(),
	}
	names(fields, "resources", list)
	names(fields, "removed", removed)
	r.write(fields)
}

// Adds names, as many as a line takes, and how many there are, if there are any.
func names(fields map[string]any, key string, list []string) {
	if len(list) > 0 {
		fields[key] = list[:min(len(list), maxNames)]
		fields[key+"_count"] = len(list)
	}
}

// The name of a resource in a response without names.
func nameOf(packed *anypb.Any) string {
	message, err := packed.UnmarshalNew()
	if err != nil {
		return ""
	}
	return cache.GetResourceName(types.Resource(message))
}
