"""The rules of thingbeam.transforms.rules for whole slices at a time: what runs in pipelines."""
