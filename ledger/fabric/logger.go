package fabric

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hyperledger/fabric-sdk-go/pkg/core/logging/api"
	"google.golang.org/grpc/grpclog"
)

// sdkLog is where the SDK's own log goes. It has one for the whole process and takes it once; whoever opened a ledger last
// gets what it says.
var sdkLog sdkLogger

// sdkLogger keeps the SDK's warnings and errors for whoever debugs, and drops its chatter. It logs as an error whatever it
// also returns as one, certificates and all; what comes of an error is for us to say, who know what was asked.
type sdkLogger struct{ to atomic.Pointer[slog.Logger] }

func (s *sdkLogger) use(to *slog.Logger) api.LoggerProvider {
	s.to.Store(to)
	quietGRPC()
	return s
}

// quietGRPC takes gRPC's own log along, which would go to standard error in a form of its own. It may be set once, before
// the first connection.
var quietGRPC = sync.OnceFunc(func() { grpclog.SetLoggerV2(grpcLogger{moduleLogger{&sdkLog, "grpc"}}) })

// grpcLogger is the same for gRPC, which calls a warning by another name.
type grpcLogger struct{ moduleLogger }

func (g grpcLogger) Warning(v ...any)            { g.Warn(v...) }
func (g grpcLogger) Warningf(f string, v ...any) { g.Warnf(f, v...) }
func (g grpcLogger) Warningln(v ...any)          { g.Warnln(v...) }
func (g grpcLogger) V(int) bool                  { return false }

func (s *sdkLogger) GetLogger(module string) api.Logger { return moduleLogger{s, module} }

type moduleLogger struct {
	*sdkLogger
	module string
}

// longest is how much of a message is kept, in bytes.
const longest = 300

func (m moduleLogger) note(text string) {
	if log := m.to.Load(); log != nil {
		text = strings.ToValidUTF8(text[:min(len(text), longest)], "")
		log.Debug("fabric-sdk-go: "+strings.TrimSpace(text), "module", m.module)
	}
}

func (m moduleLogger) Warn(v ...any)                 { m.note(fmt.Sprint(v...)) }
func (m moduleLogger) Warnf(format string, v ...any) { m.note(fmt.Sprintf(format, v...)) }
func (m moduleLogger) Warnln(v ...any)               { m.note(fmt.Sprintln(v...)) }
func (m moduleLogger) Error(v ...any)                { m.note(fmt.Sprint(v...)) }
func (m moduleLogger) Errorf(f string, v ...any)     { m.note(fmt.Sprintf(f, v...)) }
func (m moduleLogger) Errorln(v ...any)              { m.note(fmt.Sprintln(v...)) }

func (m moduleLogger) Print(...any)          {}
func (m moduleLogger) Printf(string, ...any) {}
func (m moduleLogger) Println(...any)        {}
func (m moduleLogger) Debug(...any)          {}
func (m moduleLogger) Debugf(string, ...any) {}
func (m moduleLogger) Debugln(...any)        {}
func (m moduleLogger) Info(...any)           {}
func (m moduleLogger) Infof(string, ...any)  {}
func (m moduleLogger) Infoln(...any)         {}

// A library that wants to end the process panics instead, where it can be recovered from.

func (m moduleLogger) Fatal(v ...any)            { panic(fmt.Sprint(v...)) }
func (m moduleLogger) Fatalf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (m moduleLogger) Fatalln(v ...any)          { panic(fmt.Sprintln(v...)) }
func (m moduleLogger) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (m moduleLogger) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (m moduleLogger) Panicln(v ...any)          { panic(fmt.Sprintln(v...)) }
