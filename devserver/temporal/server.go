// Package temporal runs a whole Temporal server and its web UI inside this
// process, on SQLite files in one folder. It is for development, demonstrations
// and tests: one machine, loopback only, no authentication.
package temporal

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// LogFile is where warnings go inside Options.Dir when no Logger is given.
	LogFile = "temporal.log"

	defaultNamespace = "default"

	// minRetention keeps a closed run visible over a weekend. Retention is fixed
	// when the namespace is first created.
	minRetention = 72 * time.Hour
)

// Options is what Start needs. A zero field takes the default its comment names.
type Options struct {
	Dir          string        // holds the database, its lock and the log; made if missing; required unless Memory
	Memory       bool          // keep everything in memory; Dir, if given, holds the log only
	FrontendAddr string        // gRPC, a loopback IP and port; port 0 picks a free one; default 127.0.0.1:7233
	UIAddr       string        // web UI, likewise; empty: no UI
	MetricsAddr  string        // Prometheus at /metrics, likewise; empty: no metrics
	Namespace    string        // made if missing; default "default"
	Retention    time.Duration // of closed runs in a namespace made now; default and least 72h
	Logger       *zap.Logger   // gets warnings and errors; default: LogFile in Dir, or nothing without Dir
	TimeSkipping bool          // lets a test ask the server to skip idle time of a run
}

// Server is a running Temporal server. Its methods may be called from several
// goroutines.
type Server struct {
	hostPort, uiURL, metricsURL, namespace string

	server   temporal.Server
	ui       *uiserver.Server
	store    *store
	closeLog func()

	stop    sync.Once
	stopErr error
}

// Start runs the server and returns once it takes requests.
//
//	Repeats: safe after Stop, also in the same process: runs are kept in Dir
//	Errors:  one line naming the address, folder or file, and what to do
func Start(opts Options) (_ *Server, err error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	s := &Server{namespace: opts.Namespace, closeLog: func() {}}
	defer func() {
		if err != nil {
			_ = s.Stop()
		}
	}()

	at, err := reserve(opts)
	if err != nil {
		return nil, err
	}
	defer at.release()
	s.hostPort = at.frontend.String()

	if s.store, err = openStore(opts); err != nil {
		return nil, err
	}
	zl, closeLog, err := opts.logger()
	if err != nil {
		return nil, err
	}
	s.closeLog = closeLog
	logger := log.NewZapLogger(zl)

	cfg := serverConfig(at, s.store.sql)
	if err := s.store.createNamespace(cfg.ClusterMetadata.CurrentClusterName, opts.Namespace, opts.Retention); err != nil {
		return nil, err
	}
	measure := metrics.NoopMetricsHandler
	at.release()
	if at.metrics != nil {
		s.metricsURL = "http://" + at.metrics.String() + "/metrics"
		measure, err = metrics.MetricsHandlerFromConfig(logger, &metrics.Config{Prometheus: &metrics.PrometheusConfig{
			Framework: metrics.FrameworkOpentelemetry, ListenAddress: at.metrics.String(), HandlerPath: "/metrics",
		}})
		if err != nil {
			return nil, fmt.Errorf("temporal: metrics: %w", err)
		}
	}
	if s.server, err = newServer(cfg, at, opts, logger, measure); err != nil {
		measure.Stop(logger)
		return nil, err
	}
	if err := s.server.Start(); err != nil {
		return nil, fmt.Errorf("temporal: start: %w (see the Temporal log)", err)
	}
	if err := waitReady(s.hostPort, opts.Namespace); err != nil {
		return nil, err
	}
	if at.ui != nil {
		s.uiURL = "http://" + at.ui.String()
		s.ui = startUI(at.ui, s.hostPort, opts.Namespace)
		if err := waitOpen(at.ui.String()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// newServer assembles the four services. The server's own code ends the process
// on some mistakes, such as a port taken between our look and its own; here that
// becomes an error.
func newServer(cfg *config.Config, at *addresses, opts Options, logger log.Logger, measure metrics.Handler) (s temporal.Server, err error) {
	defer func() {
		if fatal := recover(); fatal != nil {
			err = fmt.Errorf("temporal: assemble: %v; try again (a port may just have been taken)", fatal)
		}
	}()
	authorizer, err := authorization.GetAuthorizerFromConfig(&cfg.Global.Authorization)
	if err != nil {
		return nil, fmt.Errorf("temporal: authorizer: %w", err)
	}
	claims, err := authorization.GetClaimMapperFromConfig(&cfg.Global.Authorization, logger)
	if err != nil {
		return nil, fmt.Errorf("temporal: claim mapper: %w", err)
	}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for name, addr := range at.services() {
		hosts[name] = static.SingleLocalHost(addr.String())
	}
	s, err = temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts), // one machine: no gossip between services
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorizer),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return claims }),
		temporal.WithDynamicConfigClient(dynamicConfig(opts)),
		temporal.WithCustomMetricsHandler(measure), // given by hand, it is also stopped by Stop
	)
	if err != nil {
		return nil, fmt.Errorf("temporal: assemble: %w", err)
	}
	return s, nil
}

// HostPort is the address clients dial.
func (s *Server) HostPort() string { return s.hostPort }

// UIURL is the address of the web UI, empty when there is none.
func (s *Server) UIURL() string { return s.uiURL }

// MetricsURL is where Prometheus reads, empty when there is nothing to read.
func (s *Server) MetricsURL() string { return s.metricsURL }

// Namespace is the namespace Start made sure of.
func (s *Server) Namespace() string { return s.namespace }

// Stop ends the UI and the server, folds the write-ahead log into the database
// and frees the folder. It takes about a second. Stop workers and close clients
// first, or their open polls are cut off.
//
//	Repeats: safe; later calls return the first answer
func (s *Server) Stop() error {
	s.stop.Do(func() {
		var errs []error
		if s.ui != nil {
			s.ui.Stop()
		}
		if s.server != nil {
			errs = append(errs, s.server.Stop())
		}
		if s.store != nil {
			errs = append(errs, s.store.close())
		}
		s.closeLog()
		if err := errors.Join(errs...); err != nil {
			s.stopErr = fmt.Errorf("temporal: stop: %w", err)
		}
	})
	return s.stopErr
}

// fill puts the defaults in and reports every mistake at once.
func (o *Options) fill() error {
	var errs []error
	if o.FrontendAddr == "" {
		o.FrontendAddr = "127.0.0.1:7233"
	}
	if o.Namespace == "" {
		o.Namespace = defaultNamespace
	}
	if o.Retention == 0 {
		o.Retention = minRetention
	}
	if o.Retention < minRetention {
		errs = append(errs, fmt.Errorf("option Retention: %s is too short: give %s or more", o.Retention, minRetention))
	}
	if o.Dir == "" && !o.Memory {
		errs = append(errs, errors.New("option Dir: missing: name the folder that keeps the database, or set Memory"))
	}
	for _, a := range []struct{ field, addr string }{
		{"FrontendAddr", o.FrontendAddr}, {"UIAddr", o.UIAddr}, {"MetricsAddr", o.MetricsAddr},
	} {
		if a.addr == "" {
			continue
		}
		if _, err := loopback(a.addr); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.field, err))
		}
	}
	if o.Dir != "" {
		dir, err := filepath.Abs(o.Dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("option Dir: %s: %w", o.Dir, err))
		}
		o.Dir = dir
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("temporal: options: %w", err)
	}
	return nil
}

// logger narrows the caller's logger to warnings, or opens the log file.
func (o *Options) logger() (*zap.Logger, func(), error) {
	// Fatal panics: Start turns that into an error (see newServer); later it still
	// ends the process, with the server's words on standard error.
	options := []zap.Option{zap.WithFatalHook(zapcore.WriteThenPanic)}
	if o.Logger != nil {
		if o.Logger.Core().Enabled(zap.InfoLevel) {
			options = append(options, zap.IncreaseLevel(zap.WarnLevel))
		}
		return o.Logger.WithOptions(options...), func() {}, nil
	}
	if o.Dir == "" {
		return zap.NewNop(), func() {}, nil
	}
	path := filepath.Join(o.Dir, LogFile)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("temporal: log file %s: %w: make it writable or remove it", path, reason(err))
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.EncodeTime = "at", zapcore.RFC3339NanoTimeEncoder
	zl := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoding), file, zap.WarnLevel), append(options, zap.ErrorOutput(file))...)
	return zl, func() { _ = file.Close() }, nil
}

// reason is the cause without the path, which the message already names.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
