package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// How long anything may take that has to happen.
const patience = 30 * time.Second

// A server in this process.
type fixture struct {
	*testing.T
	commands *io.PipeWriter
	events   chan map[string]any
	ended    chan error
	tcp      string
}

func start(t *testing.T, arguments ...string) *fixture {
	t.Helper()
	input, commands := io.Pipe()
	output, lines := io.Pipe()
	f := &fixture{T: t, commands: commands, events: make(chan map[string]any, 1000), ended: make(chan error, 1)}
	go func() {
		f.ended <- run(arguments, input, lines)
		lines.Close()
	}()
	go func() {
		defer close(f.events)
		scanner := bufio.NewScanner(output)
		scanner.Buffer(nil, 1<<24)
		for scanner.Scan() {
			event := map[string]any{}
			if err := json.Unmarshal(scanner.Bytes(), &event); err != nil {
				t.Errorf("%q: %v", scanner.Text(), err)
			}
			f.events <- event
		}
	}()
	t.Cleanup(f.stop)
	f.tcp, _ = f.next("ready")["tcp"].(string)
	return f
}

func (f *fixture) stop() { f.commands.Close() }

// The next event of a kind.
func (f *fixture) next(kind string) map[string]any {
	f.Helper()
	limit := time.After(patience)
	for {
		select {
		case event, open := <-f.events:
			if !open {
				f.Fatalf("the server has ended: %v", <-f.ended)
			}
			if event["event"] == kind {
				return event
			}
		case <-limit:
			f.Fatalf("no event %q", kind)
		}
	}
}

// Gives a command that has to succeed.
func (f *fixture) command(line string) map[string]any {
	f.Helper()
	fmt.Fprintln(f.commands, line)
	limit := time.After(patience)
	for {
		select {
		case event := <-f.events:
			switch event["event"] {
			case "done":
				return event
			case "failed":
				f.Fatal(event["message"])
			}
		case <-limit:
			f.Fatalf("no answer to %s", line)
		}
	}
}

func dial(t *testing.T, target string, tls credentials.TransportCredentials) discovery.AggregatedDiscoveryServiceClient {
	t.Helper()
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(tls),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return discovery.NewAggregatedDiscoveryServiceClient(connection)
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

var node = &core.Node{Id: "a"}

const twoClusters = `{"command": "set", "node": "a", "resources": {"clusters": [{"name": "one"}, {"name": "two"}]}}`

func TestDeltaGetsWhatIsNewAndSaysWhatItThinksOfIt(t *testing.T) {
	for _, cache := range []string{"snapshot", "linear"} {
		t.Run(cache, func(t *testing.T) {
			f := start(t, "--cache", cache)
			f.command(twoClusters)
			client := dial(t, f.tcp, insecure.NewCredentials())
			stream, err := client.DeltaAggregatedResources(deadline(t))
			must(t, err)
			must(t, stream.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: resource.ClusterType}))
			response, err := stream.Recv()
			must(t, err)
			same(t, deltaNames(response), []string{"one", "two"})
			must(t, stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: resource.ClusterType, ResponseNonce: response.GetNonce()}))
			ack := f.next("ack")
			same(t, ack["node"], any("a"))
			same(t, ack["type_url"], any(resource.ClusterType))
			same(t, ack["nonce"], any(response.GetNonce()))
			same(t, ack["version"], any(response.GetSystemVersionInfo()))
			same(t, ack["resources_count"], any(2.0))

			f.command(`{"command": "update", "node": "a", "resources": {"clusters": [{"name": "three"}]}, "remove": {"clusters": ["one"]}}`)
			response, err = stream.Recv()
			must(t, err)
			same(t, deltaNames(response), []string{"three"})
			same(t, response.GetRemovedResources(), []string{"one"})
			must(t, stream.Send(&discovery.DeltaDiscoveryRequest{
				TypeUrl:       resource.ClusterType,
				ResponseNonce: response.GetNonce(),
				ErrorDetail:   &status.Status{Code: int32(codes.InvalidArgument), Message: "three is one too many"},
			}))
			nack := f.next("nack")
			same(t, nack["message"], any("three is one too many"))
			same(t, nack["code"], any(3.0))
			same(t, nack["resources"], any([]any{"three"}))
		})
	}
}

func TestStateOfTheWorldHasAllOfItAgain(t *testing.T) {
	for _, cache := range []string{"snapshot", "linear"} {
		t.Run(cache, func(t *testing.T) {
			f := start(t, "--cache", cache)
			f.command(twoClusters)
			client := dial(t, f.tcp, insecure.NewCredentials())
			stream, err := client.StreamAggregatedResources(deadline(t))
			must(t, err)
			must(t, stream.Send(&discovery.DiscoveryRequest{Node: node, TypeUrl: resource.ClusterType}))
			response, err := stream.Recv()
			must(t, err)
			same(t, f.next("response")["resources_count"], any(2.0))
			must(t, stream.Send(&discovery.DiscoveryRequest{
				TypeUrl: resource.ClusterType, VersionInfo: response.GetVersionInfo(), ResponseNonce: response.GetNonce(),
			}))
			same(t, f.next("ack")["version"], any(response.GetVersionInfo()))
			f.command(`{"command": "update", "node": "a", "resources": {"clusters": [{"name": "three"}]}}`)
			response, err = stream.Recv()
			must(t, err)
			same(t, len(response.GetResources()), 3)
			must(t, stream.Send(&discovery.DiscoveryRequest{
				TypeUrl: resource.ClusterType, ResponseNonce: response.GetNonce(),
				ErrorDetail: &status.Status{Message: "no"},
			}))
			nack := f.next("nack")
			same(t, nack["version"], any(response.GetVersionInfo()))
			same(t, nack["message"], any("no"))
		})
	}
}

func TestServerThatWasKilledIsBackAtTheSamePlaceWithTheSameVersions(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "resources.json")
	must(t, os.WriteFile(file, []byte(`{"clusters": [{"name": "one"}]}`), 0o600))
	socket := filepath.Join(folder, "socket")
	first := start(t, "--tcp", "127.0.0.1:0", "--unix", socket, "--set", "a="+file)
	versions := map[string]string{}
	ask := func(f *fixture) *discovery.DeltaDiscoveryResponse {
		client := dial(f.T, "unix:"+socket, insecure.NewCredentials())
		stream, err := client.DeltaAggregatedResources(deadline(f.T))
		must(f.T, err)
		must(f.T, stream.Send(&discovery.DeltaDiscoveryRequest{
			Node: node, TypeUrl: resource.ClusterType, InitialResourceVersions: versions,
		}))
		response, err := stream.Recv()
		must(f.T, err)
		return response
	}
	response := ask(first)
	same(t, deltaNames(response), []string{"one"})
	versions["one"] = response.GetResources()[0].GetVersion()
	first.stop()
	must(t, <-first.ended)
	must(t, os.WriteFile(socket, nil, 0o600)) // as if it had had no time to clean up

	second := start(t, "--tcp", first.tcp, "--unix", socket, "--set", "a="+file)
	same(t, second.tcp, first.tcp)
	second.command(`{"command": "update", "node": "a", "resources": {"clusters": [{"name": "two"}]}}`)
	same(t, deltaNames(ask(second)), []string{"two"})
}

func TestNodeHasItsOwnResources(t *testing.T) {
	f := start(t)
	f.command(twoClusters)
	f.command(`{"command": "set", "node": "b", "resources": {"secrets": [{"name": "default", "tls_certificate": {}}]}}`)
	client := dial(t, f.tcp, insecure.NewCredentials())
	stream, err := client.DeltaAggregatedResources(deadline(t))
	must(t, err)
	must(t, stream.Send(&discovery.DeltaDiscoveryRequest{
		Node: &core.Node{Id: "b"}, TypeUrl: resource.SecretType, ResourceNamesSubscribe: []string{"default"},
	}))
	request := f.next("request")
	same(t, request["subscribe"], any([]any{"default"}))
	same(t, request["node"], any("b"))
	response, err := stream.Recv()
	must(t, err)
	same(t, deltaNames(response), []string{"default"})
	must(t, stream.CloseSend())
	same(t, f.next("closed")["node"], any("b"))
}

func TestEndpointMovesInALargeSet(t *testing.T) {
	f := start(t, "--cache", "linear")
	done := f.command(`{"command": "scale", "node": "a", "scale": {"clusters": 50, "routes": 120, "endpoints": 210}}`)
	same(t, []any{done["clusters"], done["endpoints"], done["routes"], done["listeners"]}, []any{50.0, 50.0, 1.0, 1.0})
	client := dial(t, f.tcp, insecure.NewCredentials())
	stream, err := client.DeltaAggregatedResources(deadline(t))
	must(t, err)
	names := []string{}
	for index := range 50 {
		names = append(names, fmt.Sprintf("service-%d", index))
	}
	must(t, stream.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: resource.EndpointType, ResourceNamesSubscribe: names}))
	response, err := stream.Recv()
	must(t, err)
	same(t, len(response.GetResources()), 50)
	must(t, stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResponseNonce: response.GetNonce()}))
	f.next("ack")
	for range 2 {
		f.command(`{"command": "move_endpoint", "node": "a", "cluster": "service-7"}`)
		response, err = stream.Recv()
		must(t, err)
		same(t, deltaNames(response), []string{"service-7"})
	}
}

func TestScaleDealsOutAllThatIsAskedFor(t *testing.T) {
	resources, err := scale{}.set()
	must(t, err)
	same(t, len(resources[resource.ClusterType]), 5_000)
	routes, endpoints := 0, 0
	for index := range 7 {
		routes += share(10, 7, index)
		endpoints += share(20, 7, index)
	}
	same(t, []int{routes, endpoints}, []int{10, 20})
}

func TestTypesOfIstioAreRead(t *testing.T) {
	resources, err := parseSet([]byte(`{"extension_configs": [
		{"name": "a", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
			"config": {"configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "x"}}}},
		{"name": "b", "typed_config": {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
			"type_url": "type.googleapis.com/stats.PluginConfig", "value": {"metrics": []}}},
		{"name": "c", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC", "rules": {}}},
		{"name": "d", "typed_config": {"@type": "type.googleapis.com/istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig"}}
	]}`))
	must(t, err)
	same(t, len(resources[resource.ExtensionConfigType]), 4)
}

func TestRecordingsOfIstioAreRead(t *testing.T) {
	files, err := filepath.Glob("../istio/*.json")
	must(t, err)
	same(t, len(files), 4)
	for _, file := range files {
		resources, err := readFile(file)
		must(t, err)
		snapshot, err := snapshotOf(resources)
		must(t, err)
		must(t, snapshot.ConstructVersionMap())
		if len(resources[resource.ListenerType]) < 7 {
			t.Error(file)
		}
	}
}

func TestMistakesAreToldAndNothingChanges(t *testing.T) {
	f := start(t)
	for _, line := range []string{
		`{"command": "set"}`,
		`{"command": "nothing", "node": "a"}`,
		`{"command": "set", "node": "a", "more": 1}`,
		`{"command": "set", "node": "a", "resources": {"clusters": [{"nam": "one"}]}}`,
		`{"command": "set", "node": "a", "resources": {"clusters": [{"name": "one"}, {"name": "one"}]}}`,
		`{"command": "set", "node": "a", "resources": {"cluster": []}}`,
		`{"command": "update", "node": "a", "remove": {"clusters": ["one"]}}`,
		`{"command": "move_endpoint", "node": "a", "cluster": "one"}`,
		`{"command": "set", "node": "a", "file": "/nothing"}`,
		`nothing`,
	} {
		fmt.Fprintln(f.commands, line)
		if f.next("failed")["message"] == "" {
			t.Error(line)
		}
	}
	f.command(twoClusters)
	for _, arguments := range [][]string{{"--cache", "none"}, {"--key", "x"}, {"--set", "a"}, {"more"}, {"--tcp", "nowhere"}} {
		if err := run(arguments, nil, io.Discard); err == nil {
			t.Error(arguments)
		}
	}
}

func TestClientHasToHaveACertificate(t *testing.T) {
	folder := t.TempDir()
	certificate, key := filepath.Join(folder, "certificate"), filepath.Join(folder, "key")
	pair := selfSigned(t, certificate, key)
	f := start(t, "--certificate", certificate, "--key", key, "--client-ca", certificate)
	f.command(twoClusters)
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for _, certificates := range [][]tls.Certificate{{pair}, nil} {
		config := &tls.Config{RootCAs: roots, Certificates: certificates}
		client := dial(t, f.tcp, credentials.NewTLS(config))
		stream, err := client.DeltaAggregatedResources(deadline(t))
		if err == nil {
			err = stream.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: resource.ClusterType})
		}
		if err == nil {
			_, err = stream.Recv()
		}
		if (err == nil) != (certificates != nil) {
			t.Errorf("%d certificates: %v", len(certificates), err)
		}
	}
}

// A certificate for 127.0.0.1 that signs itself, in two files.
func selfSigned(t *testing.T, certificateFile, keyFile string) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	must(t, os.WriteFile(certificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
	pair, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	must(t, err)
	return pair
}

func deltaNames(response *discovery.DeltaDiscoveryResponse) []string {
	list := []string{}
	for _, resource := range response.GetResources() {
		list = append(list, resource.GetName())
	}
	slices.Sort(list)
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T any](t *testing.T, got, expected T) {
	t.Helper()
	if !reflect.DeepEqual(got, expected) {
		t.Fatalf("got %v, expected %v", got, expected)
	}
}
