package temporal

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
)

const (
	clusterName = "active"

	// historyShards is fixed for the life of a database file. Four let payouts
	// move side by side; SQLite has one writer, so more would not help.
	historyShards = 4

	// startLimit is far above the second or so that a start takes.
	startLimit = 60 * time.Second
)

// serverConfig is the static configuration: one cluster, four services, one
// SQLite database for runs and visibility alike.
func serverConfig(at *addresses, sql *config.SQL) *config.Config {
	services := map[string]config.Service{}
	for name, addr := range at.services() {
		services[string(name)] = config.Service{RPC: config.RPC{GRPCPort: addr.Port, BindOnIP: addr.IP.String()}}
	}
	off := config.ArchivalNamespaceDefaults{
		History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
		Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
	}
	return &config.Config{
		Global: config.Global{
			Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: "127.0.0.1"},
		},
		Persistence: config.Persistence{
			DefaultStore:     sqlite.PluginName,
			VisibilityStore:  sqlite.PluginName,
			NumHistoryShards: historyShards,
			DataStores:       map[string]config.DataStore{sqlite.PluginName: {SQL: sql}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: at.frontend.String()},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            services,
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: off},
		PublicClient:      config.PublicClient{HostPort: at.frontend.String()}, // required: the worker service dials it
	}
}

// dynamicConfig holds the values in which a small local server differs from a
// cluster.
func dynamicConfig(opts Options) dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		// A search attribute is usable as soon as it is registered.
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
		// The default of 10 list calls a second is less than the UI and one test ask for.
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 1000,
		dynamicconfig.FrontendPersistenceMaxQPS.Key():                    10_000,
		dynamicconfig.HistoryPersistenceMaxQPS.Key():                     45_000,
		// Caches for a laptop, not for a cluster.
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key(): 8_096,
		// One worker: no forwarding between partitions of a task queue.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
		// It works offline and tells nobody that it runs.
		dynamicconfig.EnableServerVersionCheck.Key():    false,
		dynamicconfig.WorkflowTimeSkippingEnabled.Key(): opts.TimeSkipping,
	}
}

// waitReady returns once the frontend answers for the namespace.
func waitReady(hostPort, namespace string) error {
	c, err := client.NewLazyClient(client.Options{HostPort: hostPort, Namespace: namespace, Logger: silent{}})
	if err != nil {
		return fmt.Errorf("temporal: client: %w", err)
	}
	defer c.Close()
	for deadline := time.Now().Add(startLimit); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("temporal: frontend %s does not answer after %s: %w (see the Temporal log)", hostPort, startLimit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// silent keeps the readiness client's words out of the terminal.
type silent struct{}

var _ sdklog.Logger = silent{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
