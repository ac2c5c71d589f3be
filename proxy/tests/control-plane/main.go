// A management server for tests: go-control-plane's own server and caches, told by lines
// on its standard input what each node gets, and telling on its standard output what
// each node makes of it.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"

	_ "weir/control-plane/types"
)

// What a command line asks for.
type options struct {
	tcp, unix                  string
	certificate, key, clientCA string
	cache                      string
	consistent                 bool
	initial                    map[string]string // files by node
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(arguments []string, commands io.Reader, output io.Writer) error {
	options, err := parse(arguments)
	if err != nil {
		return err
	}
	store, err := newStore(options.cache, options.consistent)
	if err != nil {
		return err
	}
	for node, file := range options.initial {
		resources, err := readFile(file)
		if err != nil {
			return err
		}
		if _, err := store.replace(node, resources); err != nil {
			return err
		}
	}
	tlsConfig, err := options.tls()
	if err != nil {
		return err
	}
	reporter := newReporter(output)
	ready := map[string]any{"event": "ready"}
	listeners := []net.Listener{}
	if options.tcp != "" {
		listener, err := net.Listen("tcp", options.tcp)
		if err != nil {
			return err
		}
		ready["tcp"] = listener.Addr().String()
		server := newServer(store, reporter, tlsConfig)
		listeners = append(listeners, listener)
		go server.Serve(listener)
	}
	if options.unix != "" {
		// One of a server that was killed.
		if err := os.Remove(options.unix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		listener, err := net.Listen("unix", options.unix)
		if err != nil {
			return err
		}
		ready["unix"] = options.unix
		server := newServer(store, reporter, nil)
		listeners = append(listeners, listener)
		go server.Serve(listener)
	}
	reporter.line(ready)
	err = obey(bufio.NewReader(commands), store, reporter)
	for _, listener := range listeners {
		listener.Close()
	}
	return err
}

func parse(arguments []string) (options, error) {
	options := options{initial: map[string]string{}}
	flags := flag.NewFlagSet("control-plane", flag.ContinueOnError)
	flags.StringVar(&options.tcp, "tcp", "", "`ADDRESS` to listen at; 127.0.0.1:0 if there is no --unix")
	flags.StringVar(&options.unix, "unix", "", "`PATH` of a socket to listen at, without TLS")
	flags.StringVar(&options.certificate, "certificate", "", "`FILE` with the certificate chain of the TCP listener")
	flags.StringVar(&options.key, "key", "", "`FILE` with its private key")
	flags.StringVar(&options.clientCA, "client-ca", "", "`FILE` with who has to have signed the certificates of clients")
	flags.StringVar(&options.cache, "cache", "snapshot", "`KIND` of cache: snapshot or linear")
	flags.BoolVar(&options.consistent, "consistent", false, "state of the world: hold answers back until all names of a snapshot are asked for")
	flags.Func("set", "`NODE=FILE`: resources that a node has from the beginning; may be repeated", func(text string) error {
		node, file, found := strings.Cut(text, "=")
		if !found {
			return errors.New("it has to be NODE=FILE")
		}
		options.initial[node] = file
		return nil
	})
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	if flags.NArg() > 0 {
		return options, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if options.tcp == "" && options.unix == "" {
		options.tcp = "127.0.0.1:0"
	}
	return options, nil
}

// The TLS of the TCP listener; none without a certificate.
func (o options) tls() (credentials.TransportCredentials, error) {
	if o.certificate == "" {
		if o.key != "" || o.clientCA != "" {
			return nil, errors.New("--key and --client-ca need --certificate")
		}
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(o.certificate, o.key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if o.clientCA != "" {
		pem, err := os.ReadFile(o.clientCA)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", o.clientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return credentials.NewTLS(config), nil
}
