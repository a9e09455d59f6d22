package app

import (
	"errors"
	"fmt"
	"regexp"

	"go.temporal.io/sdk/worker"
)

// Deployment is what Temporal knows a worker's build by. The zero value is a
// worker that is not versioned: any takes any payout.
type Deployment struct {
	Name    string // of all workers of this house together
	BuildID string // of this build
}

// Versioned says that Temporal is to tell builds apart.
func (d Deployment) Versioned() bool { return d != Deployment{} }

// String is the version as Temporal writes it.
func (d Deployment) String() string {
	if !d.Versioned() {
		return "unversioned"
	}
	return d.Name + ":" + d.BuildID
}

// options are a worker's. How each workflow goes on under a new build stands
// where it is registered.
func (d Deployment) options() worker.DeploymentOptions {
	return worker.DeploymentOptions{
		UseVersioning: d.Versioned(),
		Version:       worker.WorkerDeploymentVersion{DeploymentName: d.Name, BuildID: d.BuildID},
	}
}

// Temporal refuses '.' and ':' in a deployment's name, and finds runs by name
// and build together in 255 characters.
var (
	deploymentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_/-]{0,99}$`) // with '/': so Kubernetes' worker controller names them
	buildID        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$`)
)

func readDeploymentName(c *Config, s string) error {
	if !deploymentName.MatchString(s) {
		return fmt.Errorf("%q: want 1 to 100 of A-Z a-z 0-9 _ - /, such as payouts", s)
	}
	c.Deployment.Name = s
	return nil
}

func readBuildID(c *Config, s string) error {
	if !buildID.MatchString(s) {
		return fmt.Errorf("%q: want 1 to 100 of A-Z a-z 0-9 . _ + -, such as 2026-11-20.1 or a commit", s)
	}
	c.Deployment.BuildID = s
	return nil
}

// checkDeployment holds that name and build are given together.
func (c *Config) checkDeployment(getenv func(string) string) error {
	switch {
	case c.Deployment.Name != "" && getenv("TEMPORAL_WORKER_BUILD_ID") == "":
		return errors.New("TEMPORAL_WORKER_BUILD_ID: is missing; TEMPORAL_DEPLOYMENT_NAME needs a build of it, such as a commit")
	case c.Deployment.BuildID != "" && getenv("TEMPORAL_DEPLOYMENT_NAME") == "":
		return errors.New("TEMPORAL_DEPLOYMENT_NAME: is missing; TEMPORAL_WORKER_BUILD_ID is for nothing without it")
	}
	return nil
}
