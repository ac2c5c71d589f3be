package main

import (
	"context"
	"time"

	clusters "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpoints "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	extensions "github.com/envoyproxy/go-control-plane/envoy/service/extension/v3"
	listeners "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routes "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
	secrets "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

const (
	// A request that names 20,000 resources and their versions has some megabytes.
	maxMessageBytes = 64 << 20
	// How often clients may ping, as Istio's server allows it.
	minPingInterval = 15 * time.Second
)

// A server of the aggregated service and of those of one type.
func newServer(config cache.Cache, reporter *reporter, tls credentials.TransportCredentials) *grpc.Server {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxSendMsgSize(maxMessageBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             minPingInterval,
			PermitWithoutStream: true,
		}),
	}
	if tls != nil {
		options = append(options, grpc.Creds(tls))
	}
	result := grpc.NewServer(options...)
	xds := server.NewServer(context.Background(), config, reporter.callbacks())
	discovery.RegisterAggregatedDiscoveryServiceServer(result, xds)
	clusters.RegisterClusterDiscoveryServiceServer(result, xds)
	endpoints.RegisterEndpointDiscoveryServiceServer(result, xds)
	listeners.RegisterListenerDiscoveryServiceServer(result, xds)
	routes.RegisterRouteDiscoveryServiceServer(result, xds)
	secrets.RegisterSecretDiscoveryServiceServer(result, xds)
	extensions.RegisterExtensionConfigDiscoveryServiceServer(result, xds)
	return result
}
