"""Tests of k8s/: what kustomize renders, without a cluster."""
