// A filter written in Go. It does what its sibling in AssemblyScript does: see
// the README beside their folders.
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

type plugin struct {
	types.DefaultPluginContext
	configuration string
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	configuration, err := proxywasm.GetPluginConfiguration()
	if err != nil && err != types.ErrorStatusNotFound {
		proxywasm.LogErrorf("guest cannot read its configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	p.configuration = string(configuration)
	proxywasm.LogInfo("guest configured: " + p.configuration)
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
	proxywasm.LogInfo("guest saw a request")
	add(proxywasm.AddHttpRequestHeader, "x-guest-request", s.plugin.configuration)
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	add(proxywasm.AddHttpResponseHeader, "x-guest-response", "go")
	return types.ActionContinue
}

func add(to func(key, value string) error, key, value string) {
	if err := to(key, value); err != nil {
		proxywasm.LogErrorf("guest cannot add %s: %v", key, err)
	}
}
