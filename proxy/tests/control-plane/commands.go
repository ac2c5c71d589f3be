package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// A line of the standard input.
type command struct {
	Command   string              `json:"command"`
	Node      string              `json:"node"`
	File      string              `json:"file"`
	Resources json.RawMessage     `json:"resources"`
	Remove    map[string][]string `json:"remove"`
	Scale     *scale              `json:"scale"`
	Cluster   string              `json:"cluster"`
}

// Does what it is told until the input ends.
func obey(input *bufio.Reader, store *store, reporter *reporter) error {
	for {
		line, err := input.ReadBytes('\n')
		if text := bytes.TrimSpace(line); len(text) > 0 {
			answer(text, store, reporter)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Carries out a command and tells how it went.
func answer(text []byte, store *store, reporter *reporter) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var command command
	err := decoder.Decode(&command)
	var counts map[string]int
	if err == nil {
		counts, err = command.run(store)
	}
	fields := map[string]any{"event": "done", "command": command.Command, "node": command.Node}
	if err != nil {
		fields["event"] = "failed"
		fields["message"] = err.Error()
	}
	for kind, count := range counts {
		fields[kind] = count
	}
	reporter.line(fields)
}

func (c command) run(store *store) (map[string]int, error) {
	if c.Node == "" {
		return nil, errors.New("a command needs a `node`")
	}
	switch c.Command {
	case "set":
		resources, err := c.set()
		if err != nil {
			return nil, err
		}
		return store.replace(c.Node, resources)
	case "update":
		resources, err := c.set()
		if err != nil {
			return nil, err
		}
		removed := map[string][]string{}
		for key, names := range c.Remove {
			kind, err := kindOf(key)
			if err != nil {
				return nil, err
			}
			removed[kind.typeURL] = names
		}
		return store.update(c.Node, resources, removed)
	case "scale":
		if c.Scale == nil {
			c.Scale = &scale{}
		}
		resources, err := c.Scale.set()
		if err != nil {
			return nil, err
		}
		return store.replace(c.Node, resources)
	case "move_endpoint":
		held, err := store.get(c.Node, resource.EndpointType, c.Cluster)
		if err != nil {
			return nil, err
		}
		assignment, ok := held.(*endpointv3.ClusterLoadAssignment)
		if !ok {
			return nil, fmt.Errorf("%q is no assignment", c.Cluster)
		}
		if err := moveEndpoint(assignment); err != nil {
			return nil, err
		}
		changed := set{resource.EndpointType: map[string]types.Resource{c.Cluster: assignment}}
		return store.update(c.Node, changed, nil)
	default:
		return nil, fmt.Errorf("unknown command %q", c.Command)
	}
}

// The resources of a command: from a file, or in its line.
func (c command) set() (set, error) {
	if c.File != "" {
		if c.Resources != nil {
			return nil, errors.New("`file` and `resources` exclude one another")
		}
		return readFile(c.File)
	}
	if c.Resources == nil {
		return set{}, nil
	}
	return parseSet(c.Resources)
}
