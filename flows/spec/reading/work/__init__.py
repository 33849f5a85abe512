"""Read what a step does: component, sweep, parallel step, environment."""
