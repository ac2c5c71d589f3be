// A filter that shows what filters are made of, in Go; README.md tells what it does.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() {
	proxywasm.SetPluginContext(func(uint32) types.PluginContext {
		return &plugin{}
	})
}

type settings struct {
	greeting, find, replace, cluster string
}

func read(text string) (settings, error) {
	var s settings
	names := map[string]*string{
		"greeting": &s.greeting,
		"find":     &s.find,
		"replace":  &s.replace,
		"cluster":  &s.cluster,
	}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		setting, ok := names[name]
		if !ok {
			return s, fmt.Errorf("no such setting: %s", name)
		}
		*setting = strings.TrimSpace(value)
	}
	if s.greeting == "" {
		return s, errors.New("there is no greeting")
	}
	return s, nil
}

type plugin struct {
	types.DefaultPluginContext
	settings settings
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	text, err := proxywasm.GetPluginConfiguration()
	if err == nil || errors.Is(err, types.ErrorStatusNotFound) {
		p.settings, err = read(string(text))
	}
	if err != nil {
		proxywasm.LogErrorf("tour: %v", err)
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext {
	return &stream{settings: &p.settings}
}

type stream struct {
	types.DefaultHttpContext
	settings *settings
	rewrites bool
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	must(proxywasm.AddHttpRequestHeader("x-greeting", s.settings.greeting))
	path, err := proxywasm.GetHttpRequestHeader(":path")
	must(err)
	if path == "/greeting" {
		respond(200, []byte(s.settings.greeting))
		return types.ActionPause
	}
	if s.settings.cluster != "" && strings.HasPrefix(path, "/private") {
		// Nobody but the service says who it is.
		must(proxywasm.RemoveHttpRequestHeader("x-user"))
		s.ask(path)
		return types.ActionPause
	}
	return types.ActionContinue
}

func (s *stream) ask(path string) {
	headers := [][2]string{
		{":method", "GET"},
		{":path", "/check"},
		{":authority", s.settings.cluster},
		{"x-path", path},
	}
	_, err := proxywasm.DispatchHttpCall(s.settings.cluster, headers, nil, nil, 5000, answered)
	if err != nil {
		respond(503, []byte("no answer\n"))
	}
}

// answered is called for the stream that has asked.
func answered(count, size, _ int) {
	answer := map[string]string{}
	if count > 0 { // else there was no answer
		headers, err := proxywasm.GetHttpCallResponseHeaders()
		must(err)
		for _, header := range headers {
			answer[header[0]] = header[1]
		}
	}
	switch status := answer[":status"]; {
	case status == "200":
		if user := answer["x-user"]; user != "" {
			must(proxywasm.AddHttpRequestHeader("x-user", user))
		}
		must(proxywasm.ResumeHttpRequest())
	case status == "" || status[0] == '5':
		respond(503, []byte("no answer\n"))
	default:
		var body []byte
		if size > 0 {
			var err error
			body, err = proxywasm.GetHttpCallResponseBody(0, size)
			must(err)
		}
		respond(403, body)
	}
}

func (s *stream) OnHttpResponseHeaders(_ int, endOfStream bool) types.Action {
	must(proxywasm.AddHttpResponseHeader("x-greeting", s.settings.greeting))
	if s.settings.find != "" && !endOfStream {
		s.rewrites = true
		must(proxywasm.RemoveHttpResponseHeader("content-length"))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseBody(size int, endOfStream bool) types.Action {
	if !s.rewrites {
		return types.ActionContinue
	}
	if !endOfStream {
		return types.ActionPause // held, until all of it is there
	}
	if size > 0 {
		body, err := proxywasm.GetHttpResponseBody(0, size)
		must(err)
		body = bytes.ReplaceAll(body, []byte(s.settings.find), []byte(s.settings.replace))
		must(proxywasm.ReplaceHttpResponseBody(body))
	}
	return types.ActionContinue
}

func respond(status uint32, body []byte) {
	headers := [][2]string{{"content-type", "text/plain"}, {"x-language", "go"}}
	must(proxywasm.SendHttpResponse(status, headers, body, -1))
}

// must ends the VM where the host refuses what it has to do: the request gets 503, and the
// next one a new VM.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
