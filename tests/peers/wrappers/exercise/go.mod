module selkie.example/peers/exercise

go 1.26
