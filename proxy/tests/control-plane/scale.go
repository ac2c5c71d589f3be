package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A large set: a listener with one route configuration, in which each cluster has a
// virtual host, with the routes and endpoints dealt out evenly.
//
// Endpoints are addresses in 127.0.0.0/8, each another one, all with one port: a server
// at 0.0.0.0 with this port is all of them.
type scale struct {
	Clusters  int    `json:"clusters"`
	Routes    int    `json:"routes"`
	Endpoints int    `json:"endpoints"`
	Listener  string `json:"listener"`
	Port      uint32 `json:"port"`
}

const (
	defaultClusters  = 5_000
	defaultRoutes    = 10_000
	defaultEndpoints = 20_000
	defaultListener  = "127.0.0.1:10000"
	defaultPort      = 10_001

	routesName     = "services"
	connectTimeout = 5 * time.Second
)

var (
	firstEndpoint = netip.MustParseAddr("127.1.0.0")
	// Where endpoints are that have moved.
	firstMoved = netip.MustParseAddr("127.128.0.0")
)

func (s scale) set() (set, error) {
	if s.Clusters == 0 && s.Routes == 0 && s.Endpoints == 0 {
		s.Clusters, s.Routes, s.Endpoints = defaultClusters, defaultRoutes, defaultEndpoints
	}
	if s.Listener == "" {
		s.Listener = defaultListener
	}
	if s.Port == 0 {
		s.Port = defaultPort
	}
	if s.Clusters < 1 || s.Routes < s.Clusters || s.Endpoints < s.Clusters {
		return nil, errors.New("there has to be a cluster, and a route and an endpoint for each")
	}
	listener, err := s.listener()
	if err != nil {
		return nil, err
	}
	resources := set{}
	if err := resources.add(resource.ListenerType, listener); err != nil {
		return nil, err
	}
	hosts := make([]*routev3.VirtualHost, 0, s.Clusters)
	address := firstEndpoint
	for index := range s.Clusters {
		name := fmt.Sprintf("service-%d", index)
		hosts = append(hosts, virtualHost(name, share(s.Routes, s.Clusters, index)))
		var endpoints []*endpointv3.LbEndpoint
		for range share(s.Endpoints, s.Clusters, index) {
			endpoints = append(endpoints, endpoint(address, s.Port))
			address = address.Next()
		}
		assignment := &endpointv3.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints:   []*endpointv3.LocalityLbEndpoints{{LbEndpoints: endpoints}},
		}
		if err := resources.add(resource.ClusterType, cluster(name)); err != nil {
			return nil, err
		}
		if err := resources.add(resource.EndpointType, assignment); err != nil {
			return nil, err
		}
	}
	return resources, resources.add(resource.RouteType, &routev3.RouteConfiguration{
		Name:         routesName,
		VirtualHosts: hosts,
	})
}

// How many of all the one at an index gets.
func share(all, parts, index int) int {
	return (index+1)*all/parts - index*all/parts
}

// A host NAME.scale.test: /0, /1 and so on, and in the end all else, go to one cluster.
func virtualHost(name string, routes int) *routev3.VirtualHost {
	host := &routev3.VirtualHost{Name: name, Domains: []string{name + ".scale.test"}}
	for index := range routes {
		prefix := "/"
		if index < routes-1 {
			prefix = fmt.Sprintf("/%d", index)
		}
		host.Routes = append(host.Routes, &routev3.Route{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: prefix}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: name},
			}},
		})
	}
	return host
}

func cluster(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ConnectTimeout:       durationpb.New(connectTimeout),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads()},
	}
}

func (s scale) listener() (*listenerv3.Listener, error) {
	address, err := netip.ParseAddrPort(s.Listener)
	if err != nil {
		return nil, err
	}
	router, err := anypb.New(&routerv3.Router{})
	if err != nil {
		return nil, err
	}
	manager, err := anypb.New(&hcmv3.HttpConnectionManager{
		StatPrefix: routesName,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{
			Rds: &hcmv3.Rds{ConfigSource: ads(), RouteConfigName: routesName},
		},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name:       "envoy.filters.http.router",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: router},
		}},
	})
	if err != nil {
		return nil, err
	}
	filter := &listenerv3.Filter{
		Name:       "envoy.filters.network.http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: manager},
	}
	return &listenerv3.Listener{
		Name:         routesName,
		Address:      socket(address.Addr(), uint32(address.Port())),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{filter}}},
	}, nil
}

func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}

func endpoint(address netip.Addr, port uint32) *endpointv3.LbEndpoint {
	return &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
		Endpoint: &endpointv3.Endpoint{Address: socket(address, port)},
	}}
}

func socket(address netip.Addr, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       address.String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

// Gives the first endpoint another address: the next one beside all endpoints.
func moveEndpoint(assignment *endpointv3.ClusterLoadAssignment) error {
	for _, locality := range assignment.GetEndpoints() {
		for _, endpoint := range locality.GetLbEndpoints() {
			socket := endpoint.GetEndpoint().GetAddress().GetSocketAddress()
			address, err := netip.ParseAddr(socket.GetAddress())
			if err != nil {
				return err
			}
			moved := firstMoved
			if !address.Less(firstMoved) {
				moved = address.Next()
			}
			socket.Address = moved.String()
			return nil
		}
	}
	return fmt.Errorf("%q has no endpoint", assignment.GetClusterName())
}
