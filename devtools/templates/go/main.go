// Sets the header x-{{name}} in requests and responses to its configuration, and
// answers requests for /greeting with it.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() {
	proxywasm.SetPluginContext(func(uint32) types.PluginContext {
		return &plugin{}
	})
}

// The plugin reads the configuration; each stream knows its plugin.
type plugin struct {
	types.DefaultPluginContext
	greeting string
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	greeting, err := proxywasm.GetPluginConfiguration()
	if err != nil || len(greeting) == 0 {
		proxywasm.LogError("{{name}}: the configuration has to be a greeting")
		return types.OnPluginStartStatusFailed
	}
	p.greeting = string(greeting)
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext {
	return &stream{plugin: p}
}

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	greeting := s.plugin.greeting
	path, err := proxywasm.GetHttpRequestHeader(":path")
	if err == nil && path == "/greeting" {
		if err := proxywasm.SendHttpResponse(200, nil, []byte(greeting), -1); err != nil {
			proxywasm.LogErrorf("{{name}}: cannot answer: %v", err)
		}
		return types.ActionPause
	}
	if err := proxywasm.ReplaceHttpRequestHeader("x-{{name}}", greeting); err != nil {
		proxywasm.LogErrorf("{{name}}: cannot set a header: %v", err)
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	if err := proxywasm.ReplaceHttpResponseHeader("x-{{name}}", s.plugin.greeting); err != nil {
		proxywasm.LogErrorf("{{name}}: cannot set a header: %v", err)
	}
	return types.ActionContinue
}
