package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// A type of resource that is served.
type kind struct {
	// Its key in a file.
	key     string
	typeURL string
	empty   func() types.Resource
}

var kinds = []kind{
	{"clusters", resource.ClusterType, func() types.Resource { return &clusterv3.Cluster{} }},
	{"endpoints", resource.EndpointType, func() types.Resource { return &endpointv3.ClusterLoadAssignment{} }},
	{"listeners", resource.ListenerType, func() types.Resource { return &listenerv3.Listener{} }},
	{"routes", resource.RouteType, func() types.Resource { return &routev3.RouteConfiguration{} }},
	{"secrets", resource.SecretType, func() types.Resource { return &tlsv3.Secret{} }},
	{"extension_configs", resource.ExtensionConfigType, func() types.Resource { return &corev3.TypedExtensionConfig{} }},
}

func kindOf(key string) (kind, error) {
	at := slices.IndexFunc(kinds, func(kind kind) bool { return kind.key == key })
	if at < 0 {
		return kind{}, fmt.Errorf("unknown kind of resources %q", key)
	}
	return kinds[at], nil
}

// Resources by type URL and name.
type set map[string]map[string]types.Resource

func (s set) add(typeURL string, resource types.Resource) error {
	name := cache.GetResourceName(resource)
	if name == "" {
		return fmt.Errorf("a resource of type %s has no name", typeURL)
	}
	if s[typeURL] == nil {
		s[typeURL] = map[string]types.Resource{}
	}
	if s[typeURL][name] != nil {
		return fmt.Errorf("%q of type %s is there twice", name, typeURL)
	}
	s[typeURL][name] = resource
	return nil
}

func readFile(path string) (set, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	resources, err := parseSet(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return resources, nil
}

// Reads an object with a list of messages in protobuf's JSON for each kind.
func parseSet(text []byte) (set, error) {
	lists := map[string][]json.RawMessage{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&lists); err != nil {
		return nil, err
	}
	resources := set{}
	for key, list := range lists {
		kind, err := kindOf(key)
		if err != nil {
			return nil, err
		}
		for index, message := range list {
			resource := kind.empty()
			if err := protojson.Unmarshal(message, resource); err != nil {
				return nil, fmt.Errorf("%s[%d]: %w", key, index, err)
			}
			if err := resources.add(kind.typeURL, resource); err != nil {
				return nil, fmt.Errorf("%s[%d]: %w", key, index, err)
			}
		}
	}
	return resources, nil
}

// The version of resources of one type: of the same ones it is the same, also of a
// server that was started anew.
func versionOf(resources map[string]types.Resource) (string, error) {
	names := make([]string, 0, len(resources))
	for name := range resources {
		names = append(names, name)
	}
	slices.Sort(names)
	hash := sha256.New()
	for _, name := range names {
		bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(resources[name])
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%d:", len(bytes))
		hash.Write(bytes)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8]), nil
}
