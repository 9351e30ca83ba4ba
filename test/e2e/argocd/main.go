// One synchronisation of an application as Argo CD does it, by Argo CD's own engine: manifests of a folder against a
// cluster, with the health scripts and exclusions of an argocd-cm. Prints what it found and did as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/argoproj/gitops-engine/pkg/cache"
	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/engine"
	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/argoproj/gitops-engine/pkg/sync"
	"github.com/argoproj/gitops-engine/pkg/utils/kube"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const trackingAnnotation = "argocd.argoproj.io/tracking-id"

type report struct {
	// Resources whose live object was not as the manifest says (or missing) before the synchronisation, and after it.
	OutOfSync      []string `json:"outOfSync"`
	StillOutOfSync []string `json:"stillOutOfSync"`
	// What was done, a line for each resource.
	Operations []string `json:"operations"`
	// Resource -> health, with Argo CD's words.
	Health map[string]health.HealthStatus `json:"health"`
	// Every object in the cluster that carries the application's mark.
	Managed []string `json:"managed"`
	Error   string   `json:"error,omitempty"`
}

// Health scripts in Lua, as in the keys resource.customizations.health.<group>_<kind> of argocd-cm.
type scripts map[string]string

func (s scripts) GetResourceHealth(object *unstructured.Unstructured) (*health.HealthStatus, error) {
	kind := object.GroupVersionKind()
	script, known := s[kind.Group+"_"+kind.Kind]
	if !known {
		return nil, nil
	}
	state := lua.NewState()
	defer state.Close()
	state.SetGlobal("obj", luaValue(state, object.Object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	table, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		return nil, errors.New("the health script returned no table")
	}
	return &health.HealthStatus{
		Status:  health.HealthStatusCode(table.RawGetString("status").String()),
		Message: table.RawGetString("message").String(),
	}, nil
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch typed := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, item := range typed {
			table.RawSetString(key, luaValue(state, item))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range typed {
			table.Append(luaValue(state, item))
		}
		return table
	case string:
		return lua.LString(typed)
	case bool:
		return lua.LBool(typed)
	case int64:
		return lua.LNumber(typed)
	case float64:
		return lua.LNumber(typed)
	}
	return lua.LNil
}

// resource.exclusions of argocd-cm.
type exclusions []struct {
	APIGroups []string `json:"apiGroups"`
	Kinds     []string `json:"kinds"`
}

func (e exclusions) IsExcludedResource(group, kind, _ string) bool {
	for _, item := range e {
		if slices.Contains(item.APIGroups, group) && slices.Contains(item.Kinds, kind) {
			return true
		}
	}
	return false
}

func readSettings(path string) (scripts, exclusions, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var config struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return nil, nil, err
	}
	found := scripts{}
	for key, value := range config.Data {
		if name, isHealth := strings.CutPrefix(key, "resource.customizations.health."); isHealth {
			found[name] = value
		}
	}
	var excluded exclusions
	return found, excluded, yaml.Unmarshal([]byte(config.Data["resource.exclusions"]), &excluded)
}

func readManifests(folder, app, namespace string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		objects, err := kube.SplitYAML(text)
		all = append(all, objects...)
		return err
	})
	for _, object := range all {
		annotations := object.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[trackingAnnotation] = app + ":" + name(kube.GetResourceKey(object))
		object.SetAnnotations(annotations)
	}
	return all, err
}

func name(key kube.ResourceKey) string {
	return strings.Join([]string{key.Group, key.Kind, key.Namespace, key.Name}, "/")
}

type application struct {
	name, namespace string
	targets         []*unstructured.Unstructured
	cache           cache.ClusterCache
	health          scripts
}

func (a application) isManaged(resource *cache.Resource) bool {
	mark, _ := resource.Info.(string)
	return strings.HasPrefix(mark, a.name+":")
}

// Compares as Argo CD does for its Synced and OutOfSync.
func (a application) outOfSync() ([]string, map[string]health.HealthStatus, error) {
	live, err := a.cache.GetManagedLiveObjs(a.targets, a.isManaged)
	if err != nil {
		return nil, nil, err
	}
	pairs := sync.Reconcile(a.targets, live, a.namespace, a.cache)
	compared, err := diff.DiffArray(pairs.Target, pairs.Live)
	if err != nil {
		return nil, nil, err
	}
	different, states := []string{}, map[string]health.HealthStatus{}
	for i, target := range pairs.Target {
		object := pairs.Live[i]
		if target == nil || object == nil || compared.Diffs[i].Modified {
			some := object
			if some == nil {
				some = target
			}
			different = append(different, name(kube.GetResourceKey(some)))
		}
		if object == nil {
			continue
		}
		status, err := health.GetResourceHealth(object, a.health)
		if err != nil {
			return nil, nil, err
		}
		if status != nil {
			states[name(kube.GetResourceKey(object))] = *status
		}
	}
	slices.Sort(different)
	return different, states, nil
}

func synchronise(kubeconfig, settings string, app application, folder string, prune bool, limit time.Duration) (report, error) {
	var done report
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return done, err
	}
	config.QPS, config.Burst = 100, 200
	excluded := exclusions{}
	if app.health, excluded, err = readSettings(settings); err != nil {
		return done, err
	}
	if app.targets, err = readManifests(folder, app.name, app.namespace); err != nil {
		return done, err
	}
	app.cache = cache.NewClusterCache(config,
		cache.SetSettings(cache.Settings{ResourceHealthOverride: app.health, ResourcesFilter: excluded}),
		cache.SetPopulateResourceInfoHandler(func(object *unstructured.Unstructured, _ bool) (any, bool) {
			mark := object.GetAnnotations()[trackingAnnotation]
			return mark, mark != ""
		}))
	runner := engine.NewEngine(config, app.cache)
	stop, err := runner.Run()
	if err != nil {
		return done, err
	}
	defer stop()
	if done.OutOfSync, _, err = app.outOfSync(); err != nil {
		return done, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	results, err := runner.Sync(ctx, app.targets, app.isManaged, "HEAD", app.namespace,
		sync.WithPrune(prune), sync.WithHealthOverride(app.health), sync.WithSkipDryRunOnMissingResource(true))
	for _, result := range results {
		done.Operations = append(done.Operations, fmt.Sprintf("%s %s %s", name(result.ResourceKey), result.Status, result.Message))
	}
	if err != nil {
		return done, err
	}
	return settled(app, done, limit)
}

// Waits until all is healthy, as `argocd app wait` does, and says how things stand then.
func settled(app application, done report, limit time.Duration) (report, error) {
	for end := time.Now().Add(limit); ; time.Sleep(500 * time.Millisecond) {
		// Kinds that came with the synchronisation are seen after a new look at the API.
		app.cache.Invalidate()
		if err := app.cache.EnsureSynced(); err != nil {
			return done, err
		}
		var err error
		if done.StillOutOfSync, done.Health, err = app.outOfSync(); err != nil {
			return done, err
		}
		unhealthy := 0
		for _, state := range done.Health {
			if state.Status != health.HealthStatusHealthy {
				unhealthy++
			}
		}
		if unhealthy == 0 || time.Now().After(end) {
			break
		}
	}
	done.Managed = []string{}
	for key := range app.cache.FindResources("", func(resource *cache.Resource) bool { return app.isManaged(resource) }) {
		done.Managed = append(done.Managed, name(key))
	}
	slices.Sort(done.Managed)
	return done, nil
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "credentials of the cluster")
	settings := flag.String("settings", "", "file with the ConfigMap argocd-cm")
	app := flag.String("app", "", "name of the application")
	namespace := flag.String("namespace", "", "where objects without a namespace go")
	prune := flag.Bool("prune", false, "delete what the folder no longer has")
	limit := flag.Duration("limit", 3*time.Minute, "patience for the synchronisation, and for health after it")
	flag.Parse()
	done, err := synchronise(*kubeconfig, *settings, application{name: *app, namespace: *namespace}, flag.Arg(0), *prune, *limit)
	if err != nil {
		done.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(done); err != nil || done.Error != "" {
		os.Exit(1)
	}
}
