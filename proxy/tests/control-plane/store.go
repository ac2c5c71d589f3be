package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/protobuf/proto"
)

// What each node gets. It is a cache itself, which hands requests to one of
// go-control-plane's: a snapshot for each node, or a linear cache for each node and type.
type store struct {
	mutex     sync.Mutex
	sets      map[string]set
	snapshots cache.SnapshotCache
	// By node and type URL; nil with snapshots.
	linears map[[2]string]*cache.LinearCache
}

var _ cache.Cache = (*store)(nil)

func newStore(kind string, consistent bool) (*store, error) {
	result := &store{
		sets:      map[string]set{},
		snapshots: cache.NewSnapshotCache(consistent, cache.IDHash{}, nil),
	}
	switch kind {
	case "snapshot":
	case "linear":
		result.linears = map[[2]string]*cache.LinearCache{}
	default:
		return nil, fmt.Errorf("unknown kind of cache %q", kind)
	}
	return result, nil
}

func (s *store) CreateWatch(request *cache.Request, subscription cache.Subscription, responses chan cache.Response) (func(), error) {
	responsible := s.of(request.GetNode().GetId(), request.GetTypeUrl())
	return responsible.CreateWatch(request, subscription, responses)
}

func (s *store) CreateDeltaWatch(request *cache.DeltaRequest, subscription cache.Subscription, responses chan cache.DeltaResponse) (func(), error) {
	responsible := s.of(request.GetNode().GetId(), request.GetTypeUrl())
	return responsible.CreateDeltaWatch(request, subscription, responses)
}

func (s *store) Fetch(ctx context.Context, request *cache.Request) (cache.Response, error) {
	return s.of(request.GetNode().GetId(), request.GetTypeUrl()).Fetch(ctx, request)
}

// The cache that answers a node that asks for a type.
func (s *store) of(node, typeURL string) cache.Cache {
	served := slices.ContainsFunc(kinds, func(kind kind) bool { return kind.typeURL == typeURL })
	if s.linears == nil || !served {
		return s.snapshots
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.linear(node, typeURL)
}

func (s *store) linear(node, typeURL string) *cache.LinearCache {
	key := [2]string{node, typeURL}
	if s.linears[key] == nil {
		// Its versions count up from here, so that one of an earlier server is none of it.
		prefix := strconv.FormatInt(time.Now().UnixNano(), 36) + "-"
		s.linears[key] = cache.NewLinearCache(typeURL, cache.WithVersionPrefix(prefix))
	}
	return s.linears[key]
}

// Gives a node these resources and no others. Returns how many there are of each kind.
func (s *store) replace(node string, resources set) (map[string]int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.publish(node, resources)
}

// Adds resources, replaces those of the same names, and removes some, by type URL.
func (s *store) update(node string, changed set, removed map[string][]string) (map[string]int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	resources := set{}
	for _, kind := range kinds {
		items := maps.Clone(s.sets[node][kind.typeURL])
		if items == nil {
			items = map[string]types.Resource{}
		}
		for _, name := range removed[kind.typeURL] {
			if items[name] == nil {
				return nil, fmt.Errorf("there is no %q among the %s of %q", name, kind.key, node)
			}
			delete(items, name)
		}
		maps.Copy(items, changed[kind.typeURL])
		resources[kind.typeURL] = items
	}
	return s.publish(node, resources)
}

// A resource that a node has.
func (s *store) get(node, typeURL, name string) (types.Resource, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	resource := s.sets[node][typeURL][name]
	if resource == nil {
		return nil, fmt.Errorf("node %q has no %q of type %s", node, name, typeURL)
	}
	return proto.Clone(resource), nil
}

func (s *store) publish(node string, resources set) (map[string]int, error) {
	counts := map[string]int{}
	for _, kind := range kinds {
		counts[kind.key] = len(resources[kind.typeURL])
	}
	before := s.sets[node]
	if s.linears == nil {
		snapshot, err := snapshotOf(resources)
		if err != nil {
			return nil, err
		}
		if err := s.snapshots.SetSnapshot(context.Background(), node, snapshot); err != nil {
			return nil, err
		}
	} else {
		for _, kind := range kinds {
			changed, removed := difference(before[kind.typeURL], resources[kind.typeURL])
			if len(changed)+len(removed) == 0 {
				continue
			}
			if err := s.linear(node, kind.typeURL).UpdateResources(changed, removed); err != nil {
				return nil, err
			}
		}
	}
	s.sets[node] = resources
	return counts, nil
}

func snapshotOf(resources set) (*cache.Snapshot, error) {
	snapshot := &cache.Snapshot{}
	for _, kind := range kinds {
		items := resources[kind.typeURL]
		version, err := versionOf(items)
		if err != nil {
			return nil, err
		}
		list := slices.Collect(maps.Values(items))
		snapshot.Resources[cache.GetResponseType(kind.typeURL)] = cache.NewResources(version, list)
	}
	return snapshot, nil
}

func difference(before, after map[string]types.Resource) (changed map[string]types.Resource, removed []string) {
	changed = map[string]types.Resource{}
	for name, resource := range after {
		if old := before[name]; old == nil || (old != resource && !proto.Equal(old, resource)) {
			changed[name] = resource
		}
	}
	for name := range before {
		if after[name] == nil {
			removed = append(removed, name)
		}
	}
	return changed, removed
}
