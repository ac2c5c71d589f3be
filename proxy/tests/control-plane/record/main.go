// Writes what a management server, such as Istio's, sends a sidecar in the form that the
// tests' own server reads: clusters, endpoints, listeners, routes and extensions.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	_ "weir/control-plane/types"
)

// How long all of it may take.
const patience = time.Minute

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	server := flag.String("server", "", "`ADDRESS` of the server, which is asked without TLS")
	id := flag.String("node", "", "`ID` of the node to be")
	metadata := flag.String("metadata", "", "`FILE` with its metadata, as JSON")
	flag.Parse()
	node := &core.Node{Id: *id}
	if *metadata != "" {
		text, err := os.ReadFile(*metadata)
		if err != nil {
			return err
		}
		if err := protojson.Unmarshal(text, node); err != nil {
			return err
		}
		node.Id = *id
	}
	connection, err := grpc.NewClient(*server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).StreamAggregatedResources(ctx)
	if err != nil {
		return err
	}
	asker := asker{stream: stream, node: node}
	return asker.record()
}

type asker struct {
	stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node   *core.Node
}

// Asks for all of it, as a proxy does, and prints it.
func (a asker) record() error {
	lists := map[string][]json.RawMessage{}
	add := func(key, typeURL string, names []string) ([]proto.Message, error) {
		messages, err := a.ask(typeURL, names)
		if err != nil {
			return nil, err
		}
		for _, message := range messages {
			text, err := protojson.Marshal(message)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", cache.GetResourceName(message), err)
			}
			// its own spacing differs from run to run
			var same bytes.Buffer
			if err := json.Compact(&same, text); err != nil {
				return nil, err
			}
			lists[key] = append(lists[key], same.Bytes())
		}
		return messages, nil
	}
	clusters, err := add("clusters", resource.ClusterType, nil)
	if err != nil {
		return err
	}
	if _, err := add("endpoints", resource.EndpointType, endpointNames(clusters)); err != nil {
		return err
	}
	listeners, err := add("listeners", resource.ListenerType, nil)
	if err != nil {
		return err
	}
	routes, extensions, err := listenerNames(listeners)
	if err != nil {
		return err
	}
	if _, err := add("routes", resource.RouteType, routes); err != nil {
		return err
	}
	if _, err := add("extension_configs", resource.ExtensionConfigType, extensions); err != nil {
		return err
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	return encoder.Encode(lists)
}

// The resources of a type, by name; all of them without names.
func (a asker) ask(typeURL string, names []string) ([]proto.Message, error) {
	if names != nil && len(names) == 0 {
		return nil, nil
	}
	request := &discovery.DiscoveryRequest{Node: a.node, TypeUrl: typeURL, ResourceNames: names}
	if err := a.stream.Send(request); err != nil {
		return nil, err
	}
	for {
		response, err := a.stream.Recv()
		if err != nil {
			return nil, err
		}
		// Servers send what they have changed at any time.
		if response.GetTypeUrl() != typeURL {
			continue
		}
		var messages []proto.Message
		for _, packed := range response.GetResources() {
			message, err := packed.UnmarshalNew()
			if err != nil {
				return nil, err
			}
			messages = append(messages, message)
		}
		slices.SortFunc(messages, func(a, b proto.Message) int {
			return cmp.Compare(cache.GetResourceName(a), cache.GetResourceName(b))
		})
		acknowledgement := &discovery.DiscoveryRequest{
			TypeUrl: typeURL, ResourceNames: names,
			VersionInfo: response.GetVersionInfo(), ResponseNonce: response.GetNonce(),
		}
		return messages, a.stream.Send(acknowledgement)
	}
}

func endpointNames(clusters []proto.Message) []string {
	names := map[string]bool{}
	for _, message := range clusters {
		if cluster, ok := message.(*cluster.Cluster); ok && cluster.GetEdsClusterConfig() != nil {
			names[cmp.Or(cluster.GetEdsClusterConfig().GetServiceName(), cluster.GetName())] = true
		}
	}
	return sorted(names)
}

// The names of the routes and of the extensions that listeners refer to.
func listenerNames(listeners []proto.Message) (routes, extensions []string, err error) {
	routeNames, extensionNames := map[string]bool{}, map[string]bool{}
	for _, message := range listeners {
		listener, ok := message.(*listener.Listener)
		if !ok {
			continue
		}
		chains := listener.GetFilterChains()
		if listener.GetDefaultFilterChain() != nil {
			chains = append(chains, listener.GetDefaultFilterChain())
		}
		for _, chain := range chains {
			for _, filter := range chain.GetFilters() {
				if filter.GetConfigDiscovery() != nil {
					extensionNames[filter.GetName()] = true
				}
				manager := &hcm.HttpConnectionManager{}
				if !filter.GetTypedConfig().MessageIs(manager) {
					continue
				}
				if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
					return nil, nil, err
				}
				if name := manager.GetRds().GetRouteConfigName(); name != "" {
					routeNames[name] = true
				}
				for _, filter := range manager.GetHttpFilters() {
					if filter.GetConfigDiscovery() != nil {
						extensionNames[filter.GetName()] = true
					}
				}
			}
		}
	}
	return sorted(routeNames), sorted(extensionNames), nil
}

// Never nil, which stands for all.
func sorted(names map[string]bool) []string {
	list := slices.Sorted(maps.Keys(names))
	if list == nil {
		return []string{}
	}
	return list
}
